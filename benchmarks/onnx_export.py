"""Time and memory of a conversion to ONNX, compared with torch.onnx.export alone.

python benchmarks/onnx_export.py configs/resnet-101/test.prototxt [--fold]

Weights are random. Each run is its own process with one thread, and seconds are CPU time. Memory is the peak
above a process that has imported torch, ONNX and ONNX Runtime. "model" is the caffemodel's size, which counts
shared blobs as often as they are used.

Two runs only open the net, which is less work than a conversion: this package, and OpenCV's importer
(`pip install rlossctl[opencv]`). OpenCV gets the deployed part as its own prototxt, since it does not know
data layers; its memory is the peak above a process that has imported OpenCV. Neither runs the net.
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

CONVERSIONS = ("torch.onnx.export", "rlossctl --no-verify", "rlossctl")
LOAD, OPENCV = "opening: load_net", "opening: OpenCV"
BASELINES = dict.fromkeys((*CONVERSIONS, LOAD), "baseline") | {OPENCV: "baseline of OpenCV"}


def peak() -> float:
    """This process's peak memory, in MB."""
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
        report(arguments, weights, size)
    return 0


def report(arguments: argparse.Namespace, weights: Path, size: float) -> None:
    """Starts the runs, and prints the time and memory of each."""
    found: dict[str, dict[str, float]] = {}
    for run, baseline in BASELINES.items():
        for name in (baseline, run):
            if name not in found:
                command = [sys.executable, __file__, str(arguments.prototxt), "--run", name]
                command += ["--weights", str(weights)] + ["--fold"] * arguments.fold
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[name] = json.loads(output.splitlines()[-1])
        if "failed" in found[run]:
            print(f"{run:22} {found[run]['failed']}")
            continue
        seconds = found[run]["seconds"]
        memory = found[run]["peak"] - found[baseline]["peak"]
        share = f" ({seconds / found[CONVERSIONS[0]]['seconds']:.2f} of the export alone)"
        print(
            f"{run:22} {seconds:6.2f} s{share if run in CONVERSIONS else '':31}"
            f"{memory:6.0f} MB ({memory / size:.2f} of the model)",
            flush=True,
        )


WRITE = """
import json, sys
sys.path.insert(0, "benchmarks")
from onnx_every import fill
from pathlib import Path
from rlossctl.converters.verifying.opencv import write_deployed
from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import NetOrigin
from rlossctl.net.deploy import Deploy
net = load_inference_net(NetOrigin(sys.argv[1], placeholders=json.loads(sys.argv[3])))
fill(net)
write_deployed(net, Deploy(net), Path(sys.argv[2]).with_suffix(".prototxt"), Path(sys.argv[2]))
"""


def one(run: str, prototxt: Path, weights: str, names: dict[str, str], fold: bool) -> dict[str, object]:
    """Seconds and peak memory of one run in this process, or why it is left out."""
    if "OpenCV" in run:
        return opencv(run, weights)
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch

    import rlossctl
    from rlossctl.converters import OnnxOptions

    torch.set_num_threads(1)
    start = time.process_time()
    if run == "torch.onnx.export":
        export_alone(prototxt, weights, names)
    elif run == LOAD:
        rlossctl.load_net(prototxt, weights, **names)
    elif run != "baseline":
        options = OnnxOptions(fold=fold, verify=run == "rlossctl")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "net.onnx"
            rlossctl.convert(prototxt, weights, out, placeholders=names, onnx_options=options)
    return {"seconds": time.process_time() - start, "peak": peak()}


def opencv(run: str, weights: str) -> dict[str, object]:
    """OpenCV's importer on the deployed part."""
    try:
        import cv2
    except ImportError:
        return {"failed": "not installed (pip install 'opencv-python-headless<5')", "peak": peak()}
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        return {"failed": f"OpenCV {cv2.__version__} cannot read Caffe nets (OpenCV 4 can)", "peak": peak()}
    cv2.setNumThreads(1)
    start = time.process_time()
    net = None  # kept, so that its memory counts
    if run == OPENCV:
        try:
            net = cv2.dnn.readNetFromCaffe(str(Path(weights).with_suffix(".prototxt")), weights)
        except cv2.error as error:
            return {"failed": f"cannot read the net: {str(error).strip().splitlines()[0]}", "peak": peak()}
    return {"seconds": time.process_time() - start, "peak": peak(), "opened": net is not None}


def export_alone(prototxt: Path, weights: str, names: dict[str, str]) -> None:
    """The straightforward way: load the net, and let torch export its scores."""
    import logging
    import warnings

    import torch

    from rlossctl.net.build import load_inference_net
    from rlossctl.net.deploy import Deploy
    from rlossctl.net.origin import NetOrigin

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    net = load_inference_net(NetOrigin(prototxt, placeholders=names))
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
