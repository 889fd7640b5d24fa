"""Class probabilities of one photo, from an array file, a label image or a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rlossctl.data.images import read_image, read_label
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.upsample import upsample
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import ImageList, OpenedModel, PreprocessOverrides, open_model
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds

ARRAYS = (".npy", ".npz")
UNLABELLED = 255
PREDICTED = "probabilities"  # the array of the .npz files that `predict` writes
_SUM_TOLERANCE = 1e-3
_HALF_TOLERANCE = 1e-2  # `predict` writes half precision


@dataclass(frozen=True)
class Scored:
    """A photo with the loss's other inputs.

    Attributes:
        photo: uint8 [H, W, 3], blue first.
        colours: float32 [3, H, W], the photo as the loss sees it.
        probabilities: float32 [K, H, W], summing to 1 over the classes.
        classes: K names.
        origin: where the probabilities come from, in words.
        seen: what `colours` contains, in words.
        notes: sentences that the user should read.
    """

    photo: np.ndarray
    colours: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    origin: str
    seen: str
    notes: tuple[str, ...] = ()


def open_scores(
    image: str | os.PathLike[str],
    scores: NetOrigin,
    *,
    device: str = "auto",
    mean: tuple[float, float, float] | None = None,
    classes: Sequence[str] | None = None,
    soften: float = 0.1,
) -> Scored:
    """Reads a photo and finds its class probabilities.

    Args:
        image: the photo.
        scores: a prototxt and its weights, or one file in the prototxt's place: .npy or .npz with one array
            [K, H, W] (or [1, K, H, W]), probabilities or scores before the softmax; the .npz that `predict`
            writes; a label PNG; an ONNX model.
        device: for a model, as for `evaluation.open_model`.
        mean: blue, green, red; replaces the model's own.
        classes: names, one for each class.
        soften: share of each pixel of a label image that is spread over all classes.

    Raises:
        RlossError: a file cannot be read or does not fit.
    """
    photo = read_image(image)
    file = Path(scores.prototxt)
    suffix = file.suffix.lower()
    if kinds.by_name(file) != kinds.PROTOTXT and scores.weights is not None:
        raise UsageError(
            "weights belong to a prototxt",
            where=file,
            found=str(scores.weights),
            expected="IMAGE SCORES, or IMAGE NET.prototxt WEIGHTS",
        )
    if suffix == ".png":
        label = label_of(file, photo)
        probabilities = soft_labels(label, _class_count(label, classes, file), soften)
        origin = f"label image {file.name}, {soften:g} of each pixel spread over all classes"
        return _raw(photo, probabilities, classes, origin)
    if suffix in ARRAYS:
        read = read_probabilities(file)
        probabilities, note = _fit(read.values, photo)
        return _raw(photo, probabilities, classes or read.classes, f"{file.name}, {read.how}", note)
    # The photo takes the place of the list that an evaluation would need.
    opened = open_model(Named("", scores), device, ImageList(str(image)))
    return _from_model(photo, opened, mean, classes, file.name)


class Probabilities(NamedTuple):
    """Class probabilities [K, H, W], how they were read, in words, and the classes' names, if known."""

    values: np.ndarray
    how: str
    classes: list[str] | None


def read_probabilities(path: str | os.PathLike[str]) -> Probabilities:
    """Probabilities, or scores before the softmax, from an array file; also those that `predict` wrote.

    Raises:
        DataError: the file has no such array, or values are not finite.
    """
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {"": content} if isinstance(content, np.ndarray) else dict(content)
    except (OSError, ValueError, EOFError) as error:
        raise _no_array(path, str(error)) from error
    if len(arrays) != 1 and PREDICTED not in arrays:
        raise _no_array(path, f"{len(arrays)} arrays ({', '.join(arrays)})")
    array = arrays[PREDICTED] if PREDICTED in arrays else next(iter(arrays.values()))
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    if array.ndim != 3 or array.size == 0 or array.dtype.kind != "f":
        raise _no_array(path, f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise _no_array(path, "NaN or infinity")
    half, array = array.dtype == np.float16, array.astype(np.float32)
    sums = array.sum(0)
    names = [str(name) for name in arrays.get("classes", ())] or None
    tolerance = _HALF_TOLERANCE if half else _SUM_TOLERANCE
    if array.min() >= 0 and np.abs(sums - 1).max() <= tolerance:
        return Probabilities(array / sums, "probabilities", names)
    return Probabilities(_softmax(array), "scores, passed through the softmax", names)


def soft_labels(label: np.ndarray, classes: int, soften: float) -> np.ndarray:
    """float32 [K, H, W] from ids [H, W]: soften / K for every class, the rest for the label; 255: 1 / K."""
    ids = np.arange(classes)[:, None, None]
    known = label != UNLABELLED
    return np.where(known, (1 - soften) * (label == ids) + soften / classes, 1 / classes).astype(np.float32)


def _raw(
    photo: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str] | None,
    origin: str,
    note: str | None = None,
) -> Scored:
    colours = np.ascontiguousarray(photo[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32)
    names = _names(classes, len(probabilities), origin)
    seen = "red, green, blue of 0..255, no mean subtracted"
    return Scored(photo, colours, probabilities, names, origin, seen, (note,) if note else ())


def _from_model(
    photo: np.ndarray,
    opened: OpenedModel,
    mean: tuple[float, float, float] | None,
    classes: Sequence[str] | None,
    name: str,
) -> Scored:
    predictor = Predictor(opened.runner, PreprocessOverrides(mean).apply(opened.preprocess))
    probabilities = predictor.probabilities(photo)
    names = _names(classes or opened.runner.classes, len(probabilities), name)
    colours, seen = _as_the_net_sees(photo, predictor.require_preprocess())
    origin = f"{name}, run by {opened.runner.backend}"
    return Scored(photo, colours, probabilities, names, origin, seen, (*opened.notes, *opened.warnings))


def _as_the_net_sees(photo: np.ndarray, preprocess: Preprocess) -> tuple[np.ndarray, str]:
    """The photo without padding, in grey levels (the net's input scale would change sigma_rgb)."""
    mean = np.asarray(preprocess.mean_bgr, dtype=np.float32)
    shifted = (photo.astype(np.float32) - mean).transpose(2, 0, 1)
    order = "blue, green, red" if preprocess.channel_order == "bgr" else "red, green, blue"
    colours = shifted if preprocess.channel_order == "bgr" else shifted[::-1]
    means = ", ".join(f"{value:g}" for value in preprocess.mean_bgr)
    return np.ascontiguousarray(colours), f"{order} of 0..255 minus the model's mean (blue first: {means})"


def _fit(probabilities: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, str | None]:
    size = photo.shape[:2]
    if probabilities.shape[1:] == size:
        return probabilities, None
    found = f"{probabilities.shape[2]}x{probabilities.shape[1]}"
    note = f"the probabilities are {found}, resized bilinearly to the photo's {size[1]}x{size[0]}"
    return upsample(probabilities[None], size)[0], note


def label_of(path: str | os.PathLike[str], photo: np.ndarray) -> np.ndarray:
    """The photo's label image, uint8 [H, W].

    Raises:
        DataError: it cannot be read or has another size.
    """
    label = read_label(path)
    if label.shape != photo.shape[:2]:
        raise DataError(
            "image and label differ in size",
            where=path,
            found=f"{label.shape[1]}x{label.shape[0]}, the photo {photo.shape[1]}x{photo.shape[0]}",
            expected="the same width and height",
            advice="check that the label belongs to the image",
        )
    return label


def _class_count(label: np.ndarray, classes: Sequence[str] | None, where: object) -> int:
    known = label[label != UNLABELLED]
    least = int(known.max()) + 1 if known.size else 1
    if classes is not None and len(classes) < least:
        raise DataError(
            "the label image has ids without a name",
            where=where,
            found=f"id {least - 1}",
            expected=f"ids 0 to {len(classes) - 1}",
            advice="name all classes with --classes",
        )
    return max(len(classes) if classes is not None else least, 2)


def _names(classes: Sequence[str] | None, count: int, where: object) -> list[str]:
    if classes is None:
        return [f"class {index}" for index in range(count)]
    if len(classes) != count:
        raise DataError(
            "the class names do not fit",
            where=where,
            found=f"{len(classes)} names",
            expected=f"{count}",
            advice="list every class, one per line, in a file for --classes FILE",
        )
    return list(classes)


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(0))
    return powers / powers.sum(0)


def _no_array(path: object, found: str) -> DataError:
    return DataError(
        "the file does not hold class probabilities",
        where=path,
        found=found,
        expected="one float array of shape [classes, height, width]",
        advice="save it with numpy.save(path, probabilities)",
    )
