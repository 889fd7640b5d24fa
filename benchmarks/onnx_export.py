"""Time and memory of a conversion to ONNX, beside torch.onnx.export alone.

python benchmarks/onnx_export.py configs/resnet-101/test.prototxt [--fold]

Random weights; each run is a process of its own. Memory is the peak above a process that has imported torch,
ONNX and ONNX Runtime; "model" is the caffemodel's size, which counts shared blobs as often as they are used.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = ("baseline", "torch.onnx.export", "rlossctl --no-verify", "rlossctl")


def peak() -> float:
    """Most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("prototxt", type=Path)
    parser.add_argument("--fold", action="store_true")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", arguments.prototxt.read_text()), "1")
    names["NUM_LABELS"] = "21"
    if arguments.run:
        print(json.dumps(one(arguments.run, arguments.prototxt, arguments.weights, names, arguments.fold)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "w.caffemodel"
        write = [sys.executable, "-c", WRITE, str(arguments.prototxt), str(weights), json.dumps(names)]
        subprocess.run(write, check=True)
        size = weights.stat().st_size / 2**20
        print(f"{arguments.prototxt}, caffemodel of {size:.0f} MB{', --fold' if arguments.fold else ''}")
        found = {}
        for run in RUNS:
            command = [
                sys.executable,
                __file__,
                str(arguments.prototxt),
                "--run",
                run,
                "--weights",
                str(weights),
            ]
            output = subprocess.run(
                command + ["--fold"] * arguments.fold, check=True, capture_output=True, text=True
            ).stdout
            found[run] = json.loads(output.splitlines()[-1])
            seconds = found[run]["seconds"] / found.get(RUNS[1], found[run])["seconds"]
            memory = found[run]["peak"] - found["baseline"]["peak"]
            if run != "baseline":
                print(
                    f"{run:22} {found[run]['seconds']:6.1f} s ({seconds:.2f} of the export alone), "
                    f"{memory:6.0f} MB ({memory / size:.2f} of the model)",
                    flush=True,
                )
    return 0


WRITE = """
import json, sys
sys.path.insert(0, "benchmarks")
from onnx_every import fill
from rlossctl.net.build import load_inference_net
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel
net = load_inference_net(sys.argv[1], placeholders=json.loads(sys.argv[3]))
fill(net)
write_caffemodel(sys.argv[2], net.name, layer_records(net))
"""


def one(run: str, prototxt: Path, weights: str, names: dict[str, str], fold: bool) -> dict[str, float]:
    """Seconds and peak memory of one of `RUNS`, in this process."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch
    from rlossctl.converters import OnnxOptions

    import rlossctl

    torch.set_num_threads(1)
    start = time.perf_counter()
    if run == "torch.onnx.export":
        export_alone(prototxt, weights, names)
    elif run != "baseline":
        options = OnnxOptions(fold=fold, verify=run == "rlossctl")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "net.onnx"
            rlossctl.convert(prototxt, weights, out, placeholders=names, onnx_options=options)
    return {"seconds": time.perf_counter() - start, "peak": peak()}


def export_alone(prototxt: Path, weights: str, names: dict[str, str]) -> None:
    """What anybody would write: load the net, and let torch export its scores."""
    import logging
    import warnings

    import torch

    from rlossctl.net.build import load_inference_net
    from rlossctl.net.deploy import Deploy

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    net = load_inference_net(prototxt, placeholders=names)
    net.copy_from(weights)
    deploy = Deploy(net).eval()
    for layer in deploy.layers:
        layer.module.settle()
    axes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    image = torch.zeros((2, deploy.input_shape[1], 65, 65))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deploy,
            (image,),
            str(Path(folder) / "net.onnx"),
            dynamo=True,
            opset_version=18,
            dynamic_shapes=(axes,),
            external_data=False,
            verbose=False,
        )


if __name__ == "__main__":
    sys.exit(main())
