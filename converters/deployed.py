"""The finished file, run as its users will run it, against what evaluation predicts from the net."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rlossctl.converters.attach import Ends
from rlossctl.converters.choices import compare_worth
from rlossctl.converters.comparison import Trial, read_photos
from rlossctl.converters.models import BlobModel
from rlossctl.converters.segments import session_options
from rlossctl.converters.verify import Comparison, compare

from rlossctl.data.images import read_image
from rlossctl.errors import NetError
from rlossctl.evaluation.upsample import upsample

FUSIONS = ["ConvBNFusion", "ConvMulFusion", "ConvAddFusion"]
PHOTO_SIZES = ((48, 64), (75, 90), (130, 101))  # of random photos, besides one larger than the crop


def compare_trials(net: BlobModel, path: Path, ends: Ends, trials: Iterable[Trial]) -> Iterator[Comparison]:
    """A file without preprocessing, on images that are prepared already."""
    session = open_session(path)
    for trial in trials:
        try:
            expected = _outputs(net, trial.image)
        except NetError:
            if not trial.optional:
                raise
            continue
        found = session.run(None, {session.get_inputs()[0].name: trial.image})
        names = [output.name for output in session.get_outputs()]
        for (blob, scores), result, name in zip(expected.items(), found, names, strict=True):
            size = trial.image.shape[2:]
            yield _compare(trial.name, ends, name, net.values[blob], result, scores, size, size)


def compare_photos(
    net: BlobModel, path: Path, ends: Ends, photos: Iterable[tuple[str, np.ndarray]]
) -> Iterator[Comparison]:
    """A file with the preprocessing inside, on photos: uint8 [H, W, 3], blue first, as they are read."""
    session = open_session(path)
    for name, photo in photos:
        pixels, size = ends.preprocess.apply(photo)
        ((blob, scores),) = _outputs(net, pixels[None]).items()
        image = np.ascontiguousarray(photo[None, :, :, ::-1])
        (found,) = session.run(None, {session.get_inputs()[0].name: image})
        result = session.get_outputs()[0].name
        yield _compare(name, ends, result, net.values[blob], found, scores, pixels.shape[1:], size)


def random_photos(ends: Ends, fixed: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Noise of several sizes, the same each time; one is larger than the crop where the net allows it."""
    generator = np.random.default_rng(1)
    crop = ends.preprocess.crop or (64, 64)
    sizes = [size for size in PHOTO_SIZES if not fixed or (size[0] <= crop[0] and size[1] <= crop[1])]
    sizes.append(tuple(crop) if fixed else (crop[0] + 30, crop[1] + 11))
    for rows, columns in sizes:
        photo = generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        yield f"random photo {rows}x{columns}", photo


def listed_photos(source: str, root: str) -> Iterator[tuple[str, np.ndarray]]:
    """The photos of a list, one at a time."""
    for sample in read_photos(source, root):
        yield sample.image, read_image(sample.image, listed=f"{source}:{sample.line}")


def best_class(scores: np.ndarray) -> np.ndarray:
    """[N, C, H, W] to [N, H, W]: of equal scores the larger id, as in Caffe's ArgMax."""
    return scores.shape[1] - 1 - scores[:, ::-1].argmax(1)


def _outputs(net: BlobModel, image: np.ndarray) -> dict[str, np.ndarray]:
    found = {blob.name: blob.array for blob in net.blobs(image, set(net.outputs))}
    return {name: found[name] for name in net.outputs if name in found}


def _compare(
    trial: str,
    ends: Ends,
    name: str,
    layer: str,
    found: np.ndarray,
    scores: np.ndarray,
    size: tuple[int, int],
    keep: tuple[int, int],
) -> Comparison:
    if ends.upsample:
        scores = upsample(scores, size, keep)
    if ends.head == "softmax":
        exponents = np.exp(scores - scores.max(1, keepdims=True))
        scores = exponents / exponents.sum(1, keepdims=True)
    if ends.head == "argmax":
        return compare_labels(trial, name, found, scores, layer)
    return compare(trial, name, found, scores, layer)


def compare_labels(
    trial: str, blob: str, found: np.ndarray, scores: np.ndarray, layer: str = ""
) -> Comparison:
    """Holds label maps to scores: the error is how much less than the best the chosen label scores.

    Two programs' scores differ in their last digits, so that the label of a pixel may be either of two whose
    scores are as good as equal. Such pixels count as disagreement, not as error.
    """
    expected = best_class(scores)
    if found.shape != expected.shape or found.max(initial=0) >= scores.shape[1]:
        return Comparison(trial, blob, tuple(found.shape), np.inf, np.inf, 1.0, layer)
    worth = np.take_along_axis(scores, found[:, None].astype(np.int64), 1)[:, 0]
    return compare_worth(trial, blob, found, expected, worth, scores.max(1), layer)


def open_session(path: Path) -> Any:
    """A session on the CPU with ONNX Runtime's own rewriting of the graph, as users have it.

    Only what would copy a shared weight for each of its uses is left out (FUSIONS): for nets of several
    scales the copies are larger than all the rest.
    """
    import onnxruntime

    return onnxruntime.InferenceSession(
        str(path), session_options(), providers=["CPUExecutionProvider"], disabled_optimizers=FUSIONS
    )
