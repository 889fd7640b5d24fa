"""Compares the finished file, run as users will run it, with what evaluation predicts from the net."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.converters.onnx.attach import Ends
from rlossctl.converters.verifying.blob_streams import TorchModel
from rlossctl.converters.verifying.comparison import Comparison, compare
from rlossctl.converters.verifying.graph_pieces import session_options
from rlossctl.converters.verifying.index_blobs import compare_choices
from rlossctl.converters.verifying.trials import Trial, read_photos
from rlossctl.data.images import read_image
from rlossctl.errors import NetError
from rlossctl.evaluation.predicting.upsample import upsample

BESIDE = "session.model_external_initializers_file_folder_path"  # the folder of an in-memory model's weights
FUSIONS = ["ConvBNFusion", "ConvMulFusion", "ConvAddFusion"]
PHOTO_SIZES = ((48, 64), (75, 90), (130, 101))  # sizes of random photos; one more is larger than the crop


def compare_trials(net: TorchModel, path: Path, ends: Ends, trials: Iterable[Trial]) -> Iterator[Comparison]:
    """Compares a file without preprocessing, on images that are already prepared."""
    file = _File(path, net)
    for trial in trials:
        size = trial.image.shape[2:]
        try:
            yield from list(_compare_pass(net, file, ends, trial, trial.image, size))
        except NetError:
            if not trial.optional:
                raise


def compare_photos(
    net: TorchModel, path: Path, ends: Ends, photos: Iterable[tuple[str, np.ndarray]]
) -> Iterator[Comparison]:
    """Compares a file with the preprocessing inside, on photos: uint8 [H, W, 3], blue first, as read."""
    file = _File(path, net)
    for name, photo in photos:
        pixels, size = ends.require_preprocess().apply(photo)
        image = np.ascontiguousarray(photo[None, :, :, ::-1])
        yield from _compare_pass(net, file, ends, Trial(name, image), pixels[None], size)


def random_photos(ends: Ends, fixed: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Noise in several sizes, the same each time; one is larger than the crop if the net allows it."""
    generator = np.random.default_rng(1)
    crop = ends.require_preprocess().crop or (64, 64)
    sizes = [size for size in PHOTO_SIZES if not fixed or (size[0] <= crop[0] and size[1] <= crop[1])]
    sizes.append(crop if fixed else (crop[0] + 30, crop[1] + 11))
    for rows, columns in sizes:
        photo = generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        yield f"random photo {rows}x{columns}", photo


def listed_photos(list_file: str, root: str) -> Iterator[tuple[str, np.ndarray]]:
    """The photos of a list, one at a time."""
    for sample in read_photos(list_file, root):
        yield sample.image, read_image(sample.image, listed=f"{list_file}:{sample.line}")


def best_class(scores: np.ndarray) -> np.ndarray:
    """[N, C, H, W] to [N, H, W]; among equal scores the larger id wins, as in Caffe's ArgMax."""
    return scores.shape[1] - 1 - scores[:, ::-1].argmax(1)


class _File:
    """A finished file, run as users run it, except that the indices it chooses are also returned."""

    def __init__(self, path: Path, net: TorchModel) -> None:
        self._path, self._session = path, open_session(path, net.choices)
        self._names = [output.name for output in self._session.get_outputs()]
        self.answers = dict(zip(net.outputs, self._names, strict=False))  # blob -> the output made from it

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Everything that the session returns, by name."""
        try:
            found = self._session.run(None, {self._session.get_inputs()[0].name: image})
        except Exception as error:  # ONNX Runtime raises its own types, one per status code
            raise NetError(
                "ONNX Runtime failed on the finished file",
                where=self._path,
                found=f"{str(error).splitlines()[0]} (input of shape {image.shape})",
                expected="a graph that runs on this image",
            ) from error
        return dict(zip(self._names, found, strict=True))


def _compare_pass(
    net: TorchModel, file: _File, ends: Ends, trial: Trial, pixels: np.ndarray, keep: tuple[int, int]
) -> Iterator[Comparison]:
    """Compares one pass; `trial` has the file's input, `pixels` the net's, `keep` the size of the answer.

    If the file's choices are as good as the net's, the net continues with them, because later layers depend
    on them: Upsample writes each value to the position that pooling took it from.
    """
    found = file.run(trial.image)
    for blob in net.blobs(pixels, net.choices | set(net.outputs)):
        layer = net.values[blob.name]
        if blob.choice is not None and blob.name in found:
            yield blob.choice.follow(trial.name, blob.name, found[blob.name], layer)
        elif blob.name in file.answers:
            name = file.answers[blob.name]
            yield _compare(trial.name, ends, name, layer, found[name], blob.array, pixels.shape[2:], keep)


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
    """Compares label maps with scores: the error is how far the chosen label's score is below the best.

    The scores of two programs differ in their last digits. If a pixel's two best scores are nearly equal,
    either label is right. Such pixels count as disagreement, not as error.
    """
    expected = best_class(scores)
    if found.shape != expected.shape or found.max(initial=0) >= scores.shape[1]:
        return Comparison(trial, blob, tuple(found.shape), np.inf, np.inf, 1.0, layer)
    chosen = np.take_along_axis(scores, found[:, None].astype(np.int64), 1)[:, 0]
    return compare_choices(trial, blob, found, expected, chosen, scores.max(1), layer)


def open_session(path: Path, also: Collection[str] = ()) -> Any:
    """A session on the CPU with ONNX Runtime's graph optimizations, as users have it.

    Only optimizations that would copy a shared weight for each use are disabled (FUSIONS): in nets with
    several scales, the copies are larger than everything else.

    Args:
        also: inner values to return after the outputs, if the file has them.
    """
    import onnxruntime

    options = session_options()
    source: str | bytes = str(path)
    if also:
        source = _with_outputs(path, also)
        options.add_session_config_entry(BESIDE, str(path.parent))
    return onnxruntime.InferenceSession(
        source, options, providers=["CPUExecutionProvider"], disabled_optimizers=FUSIONS
    )


def _with_outputs(path: Path, names: Collection[str]) -> bytes:
    """The model with more outputs; external weights stay beside the file."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    present = {output.name for output in model.graph.output}
    for name in (name for node in model.graph.node for name in node.output):
        if name in names and name not in present:
            model.graph.output.add(name=name)
    return model.SerializeToString()
