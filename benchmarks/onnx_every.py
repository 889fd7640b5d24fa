"""Converts net prototxts to ONNX with random weights, and prints how large each one's error is.

Converts all prototxts below the given folders, or the inference nets that come with rlossctl.

python benchmarks/onnx_every.py [../shared/prototxt/rloss] [--pattern test.prototxt] [--fold]
    [--with-preprocessing]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import torch

import rlossctl
from rlossctl import configs
from rlossctl.converters import OnnxOptions
from rlossctl.converters.verifying.comparison import Verification
from rlossctl.errors import RlossError
from rlossctl.net import Net
from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.prototxt.text import is_solver, read_text
from rlossctl.weights import write_caffemodel

CLASSES = {"NUM_LABELS": 21, "NUM_LABELS_16": 16 * 21}


@torch.no_grad()
def fill(net: Net) -> None:
    """Sets random weights that keep blobs as large as their input, and statistics and factors near 1."""
    generator = torch.Generator().manual_seed(0)
    for layer in net.layers:
        for index, blob in enumerate(layer.module.blobs):
            blob.copy_(torch.randn(blob.shape, generator=generator))
            if layer.type in ("BatchNorm", "Scale"):
                blob.mul_(0.1).add_(0 if index == 0 and layer.type == "BatchNorm" else 1)
            elif blob.dim() > 1:
                blob.mul_((2 / blob[0].numel()) ** 0.5)


def convert(prototxt: Path, folder: Path, options: OnnxOptions) -> Verification:
    """Fills every placeholder, and converts."""
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", read_text(prototxt)), "1") | CLASSES
    net = load_inference_net(NetOrigin(prototxt, placeholders=names))
    fill(net)
    weights = folder / "random.caffemodel"
    write_caffemodel(weights, net.name, layer_records(net))
    del net
    return rlossctl.convert(prototxt, weights, folder / "net.onnx", placeholders=names, onnx_options=options)


def ours() -> list[Path]:
    """The names of the nets that come with rlossctl."""
    return [Path(configs.name_of(network, network.inference)) for network in configs.NETWORKS.values()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--pattern", default="*.prototxt", help="which files (default: all)")
    parser.add_argument("--fold", action="store_true")
    parser.add_argument("--with-preprocessing", action="store_true")
    arguments = parser.parse_args()
    options = OnnxOptions(fold=arguments.fold, preprocessing=arguments.with_preprocessing)
    failed = 0
    files = sorted(file for folder in arguments.folders for file in folder.rglob(arguments.pattern))
    for prototxt in files if arguments.folders else ours():
        if is_solver(read_text(prototxt)):
            continue
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = convert(prototxt, Path(folder), options)
                blobs = len({entry.blob for entry in found.comparisons})
                result = f"{blobs:4} blobs, largest error {found.worst.error:.1e} in {found.worst.blob!r}"
            except RlossError as error:
                failed += 1
                result = f"FAILED {error}"
        print(f"{prototxt}: {result}, {time.perf_counter() - start:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
