"""Half precision and 8-bit integers: runs ONNX Runtime's converters and measures the loss of accuracy."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.converters.onnx.finished_file import open_session
from rlossctl.converters.onnx.indices import keep_integers
from rlossctl.converters.onnx.options import OnnxOptions
from rlossctl.converters.onnx.quantize import quantize
from rlossctl.converters.verifying.comparison import compare
from rlossctl.converters.verifying.trials import read_photos
from rlossctl.data.images import read_image, read_label
from rlossctl.data.lists import Sample
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, RlossError
from rlossctl.evaluation import Confusion, Predictor, open_onnx
from rlossctl.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto


IGNORED = 255


def reduce(
    model: ModelProto,
    blobs: Mapping[str, str],
    keep: Collection[str],
    options: OnnxOptions,
    preprocess: Preprocess | None,
    ranges: Path | None = None,
) -> ModelProto:
    """The model in the requested precision; its inputs and outputs stay float32.

    Args:
        blobs: for each value that is a blob, name -> layer.
        keep: layers that int8 leaves in float32.
        ranges: a file for the blobs' ranges, read if it exists: the list then need not run again.

    Raises:
        NetError: ONNX Runtime cannot convert it.
        UsageError: int8 needs to know how to prepare photos.
        DataError: a list or a photo cannot be read.
    """
    try:
        with _quiet():
            if options.precision == "fp16":
                return _to_half(model)
            return quantize(model, blobs, keep, options, preprocess, ranges)
    except RlossError:
        raise
    except Exception as error:  # the converters raise many types
        raise NetError(
            f"cannot be converted to {options.precision}",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="a graph that ONNX Runtime's converter supports",
            advice="leave out --precision",
        ) from error


def _to_half(model: ModelProto) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = convert_float_to_float16(keep_integers(model), keep_io_types=True, disable_shape_infer=True)
    OnnxModel.graph_topological_sort(
        half.graph
    )  # the converter puts its casts last, which ONNX does not allow
    return half


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the converters, which log long advice, print, and warn about values that round to 0."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(before)


@dataclass(frozen=True)
class Cost:
    """What a lower precision costs on a list of images.

    Attributes:
        different: the share of pixels with another label than float32's.
        labelled: the number of images with labels.
        before, after: mIoU of float32 and of the lower precision, if there are any.
    """

    different: float
    labelled: int = 0
    before: float | None = None
    after: float | None = None

    @property
    def loss(self) -> float:
        """Points of mIoU; without labels percent of the pixels with another label."""
        if self.before is None or self.after is None:
            return 100 * self.different
        return 100 * (self.before - self.after)

    def text(self) -> str:
        """The cost in words."""
        text = f"labels differ from float32's on {self.different:.3%} of the pixels"
        if self.before is None or self.after is None:
            return f"{text}; without labels, mIoU cannot be measured"
        cost = f"{round(-self.loss, 2) + 0.0:+.2f}"  # not -0.00
        images = f"{counted(self.labelled, 'image')} with labels"
        return f"{text}; mIoU {100 * self.before:.2f} -> {100 * self.after:.2f} ({cost}, {images})"


class Judge:
    """Compares files with float32's on the photos of a list, whose float32 labels it computes once."""

    def __init__(self, single: Path, list_file: str, root: str) -> None:
        self.list_file, self._root = list_file, root
        self.samples = read_photos(list_file, root)
        predictor = Predictor(open_onnx(single, "cpu"))
        self._classes = predictor.num_classes
        self._labels = [self._predict(predictor, sample).astype(np.int16) for sample in self.samples]

    def cost(self, reduced: Path) -> Cost:
        """What the other file costs."""
        predictor = Predictor(open_onnx(reduced, "cpu"))
        counts = Confusion(self._classes), Confusion(self._classes)
        pixels = different = labelled = 0
        for sample, labels in zip(self.samples, self._labels, strict=True):
            found = self._predict(predictor, sample)
            pixels += found.size
            different += int((labels != found).sum())
            if sample.label is not None and Path(sample.label).is_file():
                labelled += 1
                truth = read_label(sample.label, listed=self._listed(sample))
                truth[truth >= self._classes] = IGNORED  # whichever id the data set uses for ignored
                counts[0].add(truth, labels.astype(found.dtype), sample.label)
                counts[1].add(truth, found, sample.label)
        return Cost(different / pixels, labelled, *(confusion.miou() for confusion in counts))

    def _predict(self, predictor: Predictor, sample: Sample) -> np.ndarray:
        return predictor.predict(read_image(sample.image, listed=self._listed(sample))).label_map

    def _listed(self, sample: Sample) -> str:
        return f"{self.list_file}:{sample.line}"


def judge(single: Path, options: OnnxOptions) -> Judge | None:
    """A judge, if there is a list and evaluation can run the file: scores or labels of photos."""
    list_file = options.verify_images or options.calibrate
    if list_file is None:
        return None
    try:
        return Judge(single, list_file, options.root)
    except NetError:
        return None


def change(
    single: Path,
    reduced: Path,
    options: OnnxOptions,
    inputs: Iterable[tuple[str, np.ndarray]],
    judge: Judge | None,
) -> list[str]:
    """Sentences on the cost of the precision: in mIoU on a list with labels, else in labels that differ.

    Args:
        single, reduced: the float32 file and the reduced one, with the same head.
        inputs: random inputs for both, for a conversion without a list.
    """
    sizes = [f"{path.stat().st_size / 1e6:.1f} MB" for path in (single, reduced)]
    size = f"{options.precision}: {sizes[1]}, float32 {sizes[0]}"
    if judge is None:
        return [size, _random_change(single, reduced, options.precision, inputs)]
    where = f"on {judge.list_file} ({counted(len(judge.samples), 'image')})"
    return [size, f"{options.precision}: {where}, {judge.cost(reduced).text()}"]


def _random_change(single: Path, reduced: Path, name: str, inputs: Iterable[tuple[str, np.ndarray]]) -> str:
    sessions = [open_session(path) for path in (single, reduced)]
    comparisons = []
    for trial, image in inputs:
        found = [session.run(None, {session.get_inputs()[0].name: image})[0] for session in sessions]
        comparisons.append(compare(trial, "output", found[1], found[0]))
    worst = max(comparisons, key=lambda entry: entry.error)
    different = max(entry.disagreement for entry in comparisons)
    return (
        f"{name}: on {len(comparisons)} random images, outputs differ from float32's by up to "
        f"{worst.error:.2g} of their magnitude, argmax on up to {different:.3%} "
        "(to measure mIoU, give a list with --verify-images)"
    )
