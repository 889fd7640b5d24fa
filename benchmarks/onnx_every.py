"""Converts nets to ONNX and prints a table of how far each is from the net itself, and from OpenCV's.

Takes names of nets that come with rlossctl, prototxts, folders of prototxts, and NET,WEIGHTS; without any,
the inference nets that come with rlossctl. A net without weights gets random ones. The last column but one is
the largest difference of the last blobs from those of OpenCV 4's Caffe importer, where that can run the net.

python benchmarks/onnx_every.py [../shared/prototxt/rloss] [net.prototxt,net.caffemodel] [--opencv]
    [--pattern test.prototxt] [--fold] [--with-preprocessing]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import rlossctl
from rlossctl import configs
from rlossctl.converters import OnnxOptions, Verification
from rlossctl.converters.opening import named_files
from rlossctl.converters.verifying.blob_streams import TorchModel
from rlossctl.converters.verifying.opencv import OpenCvModel
from rlossctl.converters.verifying.trials import compare_models, random_trials
from rlossctl.errors import RlossError
from rlossctl.net import Net
from rlossctl.net.build import load_inference_net
from rlossctl.net.deploy import Deploy, preprocess_of, takes_any_size
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.prototxt.text import is_solver, read_text
from rlossctl.weights import write_caffemodel

CLASSES = {"NUM_LABELS": 21, "NUM_LABELS_16": 16 * 21}
HEAD = ("net", "layers", "CPU s", "largest error", "OpenCV", "result")
LAST = 4  # blobs compared with OpenCV's besides the outputs, which may be a softmax of 0 and 1
REASON = 120  # characters of a refusal


@dataclass
class Row:
    """One net in the table."""

    net: str
    layers: int = 0
    seconds: float = 0.0
    error: str = ""
    opencv: str = ""
    result: str = ""

    def text(self) -> str:
        """As a line of a Markdown table."""
        cells = (self.net, str(self.layers), f"{self.seconds:.1f}", self.error, self.opencv, self.result)
        return f"| {' | '.join(cells)} |"


@torch.no_grad()
def fill(net: Net) -> None:
    """Sets random weights that keep blobs as large as their input, and statistics and factors near 1."""
    generator = torch.Generator().manual_seed(0)
    for layer in net.layers:
        for index, blob in enumerate(layer.module.blobs):
            blob.copy_(torch.randn(blob.shape, generator=generator))
            if layer.type in ("BatchNorm", "BN", "Scale"):
                blob.mul_(0.1).add_(0 if index == 0 and layer.type == "BatchNorm" else 1)
            elif blob.dim() > 1:
                blob.mul_((2 / blob[0].numel()) ** 0.5)


def convert(prototxt: Path, folder: Path, options: OnnxOptions) -> Verification:
    """Fills every placeholder, and converts with random weights."""
    return _converted(_origin(prototxt, None), folder, options)[1]


def _origin(prototxt: Path, weights: Path | None) -> NetOrigin:
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", read_text(prototxt)), "1") | CLASSES
    return NetOrigin(prototxt, weights, names)


def _converted(origin: NetOrigin, folder: Path, options: OnnxOptions) -> tuple[Net, Verification]:
    net, weights = load_inference_net(origin), origin.weights
    if weights is None:
        fill(net)
        weights = folder / "random.caffemodel"
        write_caffemodel(weights, net.name, layer_records(net))
    found = rlossctl.convert(
        origin.prototxt,
        weights,
        folder / "net.onnx",
        placeholders=origin.placeholders,
        onnx_options=options,
    )
    return net, found


@torch.no_grad()
def by_opencv(net: Net) -> str:
    """The largest difference of the last blobs, or why there is none."""
    try:
        third = OpenCvModel(net)
        deploy = Deploy(net).eval()
        own = TorchModel(deploy, preprocess_of(net, deploy), dynamic=takes_any_size(deploy))
        wanted = {*third.outputs, *list(third.values)[-LAST:]}
        third.values = {name: layer for name, layer in third.values.items() if name in wanted}
        trial = next(random_trials(own.input_shape, own.preprocess))
        worst = max(entry.error for entry in compare_models(own, third, [trial]))
    except RlossError as error:
        return _why(str(error.found or error.message))
    return f"{worst:.1e}"


def _why(said: str) -> str:
    """What an error of OpenCV comes down to: a layer type that it lacks, or the place where it fails."""
    lacking, place = re.search(r'of type "(\w+)"', said), re.search(r"(\w+\.[ch]pp):\d+", said)
    if lacking:
        return f"lacks {lacking[1]}"
    return f"fails in {place[1]}" if place else _first_words(said)


def row_of(name: str, prototxt: Path, weights: Path | None, options: OnnxOptions, opencv: bool) -> Row:
    """Converts one net."""
    row, start = Row(name), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            net, found = _converted(_origin(prototxt, weights), Path(folder), options)
        except RlossError as error:
            row.seconds, row.result = time.process_time() - start, f"refused: {_first_words(str(error))}"
            return row
    row.seconds = time.process_time() - start
    row.layers = len(Deploy(net).layers)
    row.error, row.result = f"{found.worst.error:.1e}", "equal"
    rounded = [entry for entry in found.comparisons if entry.error > found.tolerance]
    if rounded:
        own = max(entry.rounding.own for entry in rounded if entry.rounding)
        row.result = f"equal but for rounding: float32 itself is {own:.1e} from float64"
    if opencv:
        row.opencv = by_opencv(net)
    return row


def _first_words(text: object) -> str:
    words = re.sub(r"/\S*/", "", " ".join(str(text).split())).replace("|", "/")
    return words if len(words) <= REASON else f"{words[:REASON]}..."


def _is_solver(file: Path) -> bool:
    try:
        return is_solver(read_text(file))
    except RlossError:  # its row says why it cannot be read
        return False


def nets(arguments: Sequence[str], pattern: str) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, prototxt and weights of everything that is named."""
    if not arguments:
        arguments = [configs.name_of(network, network.inference) for network in configs.NETWORKS.values()]
    for name in arguments:
        if Path(name).is_dir():
            for file in sorted(Path(name).rglob(pattern)):
                if not _is_solver(file):
                    yield f"{file.parent.name}/{file.name}", file, None
        else:
            prototxt, weights = named_files(name)
            yield (
                name if configs.has(name) else Path(prototxt).name,
                Path(prototxt),
                weights and Path(weights),
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("nets", nargs="*")
    parser.add_argument("--pattern", default="*.prototxt", help="which files of folders (default: all)")
    parser.add_argument("--fold", action="store_true")
    parser.add_argument("--with-preprocessing", action="store_true")
    parser.add_argument("--opencv", action="store_true", help="ask OpenCV, too")
    arguments = parser.parse_args()
    options = OnnxOptions(fold=arguments.fold, preprocessing=arguments.with_preprocessing)
    print(f"| {' | '.join(HEAD)} |\n|---|---:|---:|---:|---:|---|")
    refused = 0
    for name, prototxt, weights in nets(arguments.nets, arguments.pattern):
        row = row_of(name, prototxt, weights, options, arguments.opencv)
        refused += not row.error
        print(row.text(), flush=True)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
