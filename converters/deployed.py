"""The finished file, run as its users will run it, against what evaluation predicts from the net."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rlossctl.converters.attach import Ends
from rlossctl.converters.choices import compare_worth
from rlossctl.converters.comparison import Trial, read_photos
from rlossctl.converters.models import TorchModel
from rlossctl.converters.segments import session_options
from rlossctl.converters.verify import TOLERANCE, Comparison, compare

from rlossctl.data.images import read_image
from rlossctl.errors import NetError
from rlossctl.evaluation.upsample import upsample

FUSIONS = ["ConvBNFusion", "ConvMulFusion", "ConvAddFusion"]
PHOTO_SIZES = ((48, 64), (75, 90), (130, 101))  # of random photos, besides one larger than the crop


class _File:
    """The finished file in a session. Where the net chooses on the way (the masks of pooling), a copy of the
    file is run that tells its choices, too: of values that are as good as equal it may take another."""

    def __init__(self, path: Path, choices: Sequence[str]) -> None:
        self.session = open_session(_telling(path, choices) if choices else path)
        self.choices = choices
        self.names = [output.name for output in self.session.get_outputs()][
            : -len(choices) if choices else None
        ]

    def run(self, image: np.ndarray) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The outputs, and the choices by blob."""
        found = self.session.run(None, {self.session.get_inputs()[0].name: image})
        count = len(self.names)
        return found[:count], dict(zip(self.choices, found[count:], strict=True))


def _telling(path: Path, names: Sequence[str]) -> Path:
    """A file beside `path`, with more outputs."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for name in names:
        model.graph.output.add(name=name)
    out = path.with_name(f"choices.{path.name}")
    onnx.save(model, out)
    return out


def compare_trials(net: TorchModel, path: Path, ends: Ends, trials: Iterable[Trial]) -> Iterator[Comparison]:
    """A file without preprocessing, on images that are prepared already."""
    file = _File(path, net.choices)
    for trial in trials:
        try:
            expected = _outputs(net, trial.image)
        except NetError:
            if not trial.optional:
                raise
            continue
        found, choices = file.run(trial.image)
        if choices:
            expected = _outputs(net, trial.image, choices)
        for (blob, scores), result, name in zip(expected.items(), found, file.names, strict=True):
            size = trial.image.shape[2:]
            yield _compare(trial.name, ends, name, net.values[blob], result, scores, size, size)


def compare_photos(
    net: TorchModel, path: Path, ends: Ends, photos: Iterable[tuple[str, np.ndarray]]
) -> Iterator[Comparison]:
    """A file with the preprocessing inside, on photos: uint8 [H, W, 3], blue first, as they are read."""
    file = _File(path, net.choices)
    (result,) = file.names
    for name, photo in photos:
        pixels, size = ends.preprocess.apply(photo)
        (found,), choices = file.run(np.ascontiguousarray(photo[None, :, :, ::-1]))
        ((blob, scores),) = _outputs(net, pixels[None], choices).items()
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


def _outputs(
    net: TorchModel, image: np.ndarray, choices: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """What the net returns, going on with the file's choices where they are as good as its own."""
    choices, found = choices or {}, {}
    for blob in net.blobs(image, {*net.outputs, *choices}):
        found[blob.name] = blob.array
        chosen = choices.get(blob.name)
        if chosen is not None and blob.choice.compare("", blob.name, chosen, "").error <= TOLERANCE:
            blob.choice.adopt(chosen)
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
