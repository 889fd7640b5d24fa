"""Converts a net with BatchNorm statistics from photos with `--fold`, and prints how large the errors are.

python benchmarks/fold_statistics.py configs/resnet-101/test.prototxt --data train.txt --root DIR

Weights are random. The statistics come from passes over the list's first photos as in Caffe's TRAIN phase:
each BatchNorm normalises by the batch and adds to its running sums. The conversion then compares every blob
and the folded file's scores with the net's, on random images and on two photos.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from onnx_every import fill

import rlossctl
from rlossctl.converters import OnnxOptions
from rlossctl.data.images import read_image
from rlossctl.layers.normalization import BatchNorm
from rlossctl.net import Net
from rlossctl.net.build import load_inference_net
from rlossctl.net.deploy import Deploy, preprocess_of
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel


@torch.no_grad()
def gather(net: Net, photos: list[str], batch: int) -> list[BatchNorm]:
    """Sets the BatchNorm layers' statistics from photos of one size; returns the layers."""
    deploy = Deploy(net)
    preprocess = preprocess_of(net, deploy)
    modules = [layer.module for layer in deploy.layers if isinstance(layer.module, BatchNorm)]
    for module in modules:
        module.frozen = False
        for blob in module.blobs:
            blob.zero_()
    for start in range(0, len(photos), batch):
        images = [preprocess.apply(read_image(name))[0] for name in photos[start : start + batch]]
        deploy(torch.from_numpy(np.stack(images)))
    for module in modules:
        module.frozen = True
    return modules


def describe(modules: list[BatchNorm]) -> str:
    """The range of the statistics."""
    means, variances = (torch.cat(values) for values in zip(*(m.statistics() for m in modules), strict=True))
    return (
        f"{len(modules)} BatchNorm layers with {len(means)} channels in total: means {means.min():.3g} to "
        f"{means.max():.3g}, variances {variances.min():.3g} to {variances.max():.3g}, sums to divide by "
        f"{float(modules[0].blobs[2]):.3g}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("prototxt", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="list of photos of one size")
    parser.add_argument("--root", default="", help="root folder of the list")
    parser.add_argument("--photos", type=int, default=12, help="photos for the statistics (default 12)")
    parser.add_argument("--batch", type=int, default=4, help="photos per pass (default 4)")
    arguments = parser.parse_args()
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", arguments.prototxt.read_text()), "1")
    names["NUM_LABELS"] = "21"
    lines = arguments.data.read_text().split("\n")
    photos = [str(Path(arguments.root) / line.split()[0].lstrip("/")) for line in lines if line.strip()]
    net = load_inference_net(NetOrigin(arguments.prototxt, placeholders=names))
    fill(net)
    print(describe(gather(net, photos[: arguments.photos], arguments.batch)), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        weights, out, last = (Path(folder) / name for name in ("w.caffemodel", "net.onnx", "last.txt"))
        write_caffemodel(weights, net.name, layer_records(net))
        del net
        last.write_text("\n".join(photos[-2:]))
        start = time.perf_counter()
        options = OnnxOptions(fold=True, verify_images=str(last))
        found = rlossctl.convert(arguments.prototxt, weights, out, placeholders=names, onnx_options=options)
    print("\n".join(found.lines()[1:]), f"\n{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
