"""Times a forward pass of DeepLab-LargeFOV (configs/deeplab_largeFOV) through caffe.Net and our own Net.

    python benchmarks/pycaffe.py --repeats 9 --threads 1

The two take turns on one image. Prints the medians of wall and CPU seconds, and their ratios; on a machine
with other work, trust the CPU time. caffe.Net keeps every blob.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import rlossctl
from rlossctl import pycaffe as caffe
from rlossctl.prototxt import load_net_parameter, to_text

TEST = Path(__file__).resolve().parent.parent / "configs" / "deeplab_largeFOV" / "test.prototxt"
VALUES = {"EXP": "voc", "NET_ID": "net", "NUM_LABELS": 21, "TEST_SET": "val", "DATA_ROOT": "."}


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(net_text(arguments.size))
        shown, own = caffe.Net(str(file), caffe.TEST), rlossctl.load_net(file)
    image = torch.randn(1, 3, arguments.size, arguments.size)
    shown.blobs["data"].data[...] = image

    def ours() -> None:
        with torch.no_grad():
            own(data=image)

    seconds: dict[str, list[tuple[float, float]]] = {"caffe.Net": [], "Net": []}
    for _ in range(arguments.repeats):
        seconds["caffe.Net"].append(timed(shown.forward))
        seconds["Net"].append(timed(ours))
    medians = {
        name: [statistics.median(each) for each in zip(*rows, strict=True)] for name, rows in seconds.items()
    }
    for name, (wall, cpu) in medians.items():
        print(f"{name:<10} {wall:.3f} s, {cpu:.3f} s of CPU time")
    ratios = [mine / theirs for mine, theirs in zip(*medians.values(), strict=True)]
    print(f"ratio      {ratios[0]:.3f}, {ratios[1]:.3f} of CPU time")


def net_text(size: int) -> str:
    """The test net up to its scores, with an input in place of its data layer."""
    param = load_net_parameter(TEST, VALUES)
    kept = [layer for layer in param.layer if layer.type != "ImageSegData" and "label" not in layer.bottom]
    del param.layer[:]
    param.layer.extend(layer for layer in kept if layer.type not in ("Silence", "DenseCRF"))
    param.input.append("data")
    param.input_shape.add().dim.extend((1, 3, size, size))
    return to_text(param)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=321)
    return parser.parse_args()


if __name__ == "__main__":
    main()
