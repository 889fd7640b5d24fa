"""Half precision and 8-bit integers: runs ONNX Runtime's converters and measures the loss of accuracy."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
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
) -> ModelProto:
    """The model in the requested precision; its inputs and outputs stay float32.

    Args:
        blobs: for each value that is a blob, name -> layer.
        keep: layers that int8 leaves in float32.

    Raises:
        NetError: ONNX Runtime cannot convert it.
        UsageError: int8 needs to know how to prepare photos.
        DataError: a list or a photo cannot be read.
    """
    try:
        with _quiet():
            if options.precision == "fp16":
                return _to_half(model)
            return quantize(model, blobs, keep, options, preprocess)
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


def change(
    single: Path, reduced: Path, options: OnnxOptions, inputs: Iterable[tuple[str, np.ndarray]]
) -> list[str]:
    """Sentences on the cost of the precision: in mIoU on a list with labels, else in labels that differ.

    Args:
        single, reduced: the float32 file and the reduced one, with the same head.
        inputs: random inputs for both, for a conversion without a list.
    """
    sizes = [f"{path.stat().st_size / 1e6:.1f} MB" for path in (single, reduced)]
    size = f"{options.precision}: {sizes[1]}, float32 {sizes[0]}"
    list_file = options.verify_images or options.calibrate
    if list_file is None or not _segments(single):
        return [size, _random_change(single, reduced, options.precision, inputs)]
    return [size, _listed_change(single, reduced, options, list_file)]


def _listed_change(single: Path, reduced: Path, options: OnnxOptions, list_file: str) -> str:
    samples = read_photos(list_file, options.root)
    predictors = [Predictor(open_onnx(path, "cpu")) for path in (single, reduced)]
    counts = [Confusion(predictor.num_classes) for predictor in predictors]
    pixels = different = labelled = 0
    for sample in samples:
        photo = read_image(sample.image, listed=f"{list_file}:{sample.line}")
        maps = [predictor.predict(photo).label_map for predictor in predictors]
        pixels += maps[0].size
        different += int((maps[0] != maps[1]).sum())
        if sample.label is not None and Path(sample.label).is_file():
            labelled += 1
            truth = read_label(sample.label, listed=f"{list_file}:{sample.line}")
            truth[truth >= predictors[0].num_classes] = IGNORED  # whichever id the data set uses for ignored
            for confusion, labels in zip(counts, maps, strict=True):
                confusion.add(truth, labels, sample.label)
    photos = counted(len(samples), "image")
    text = f"on {list_file} ({photos}), labels differ from float32's on {different / pixels:.3%}"
    before, after = (confusion.miou() for confusion in counts)
    if before is None or after is None:
        return f"{options.precision}: {text} of the pixels; without labels, mIoU cannot be measured"
    cost = round(100 * (after - before), 2) + 0.0  # not -0.00
    return (
        f"{options.precision}: {text} of the pixels; mIoU {100 * before:.2f} -> {100 * after:.2f} "
        f"({cost:+.2f}, {counted(labelled, 'image')} with labels)"
    )


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


def _segments(path: Path) -> bool:
    """Whether evaluation can run a file: one image in, scores or labels out, and known preprocessing."""
    try:
        Predictor(open_onnx(path, "cpu"))
    except NetError:
        return False
    return True
