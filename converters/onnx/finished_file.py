"""Compares the finished file, run as users will run it, with what evaluation predicts from the net."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.converters.onnx.attach import Ends
from rlossctl.converters.verifying.blob_streams import OnnxModel, TorchModel
from rlossctl.converters.verifying.comparison import Comparison, compare
from rlossctl.converters.verifying.graph_pieces import session_options
from rlossctl.converters.verifying.index_blobs import compare_choices
from rlossctl.converters.verifying.rounding import Errors, against_double
from rlossctl.converters.verifying.trials import Trial, read_photos
from rlossctl.data.images import read_image
from rlossctl.errors import NetError
from rlossctl.evaluation.predicting.upsample import upsample

BESIDE = "session.model_external_initializers_file_folder_path"  # the folder of an in-memory model's weights
FUSIONS = ["ConvBNFusion", "ConvMulFusion", "ConvAddFusion"]
PHOTO_SIZES = ((48, 64), (75, 90), (130, 101))  # sizes of random photos; one more is larger than the crop


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


class FinishedFile:
    """A finished file, run as users run it, except that the indices it chooses are also returned.

    Args:
        net: what it was made from.
    """

    def __init__(self, path: Path, net: TorchModel, ends: Ends) -> None:
        self._path, self._net, self._ends = path, net, ends
        self._session = open_session(path, net.choices)
        self._names = [output.name for output in self._session.get_outputs()]
        self._answers = dict(zip(net.outputs, self._names, strict=False))  # blob -> the output made from it

    def compare_trials(self, trials: Iterable[Trial]) -> Iterator[Comparison]:
        """Compares a file without preprocessing, on images that are already prepared."""
        for trial in trials:
            try:
                yield from list(self._compare_pass(self._net, self._prepared(trial)))
            except NetError:
                if not trial.optional:
                    raise

    def compare_photos(self, photos: Iterable[tuple[str, np.ndarray]]) -> Iterator[Comparison]:
        """Compares a file with the preprocessing inside, on photos: uint8 [H, W, 3], blue first, as read."""
        for name, photo in photos:
            yield from self._compare_pass(self._net, self._photo(name, photo))

    def errors_of_trial(self, trial: Trial) -> Errors:
        """The outputs' errors on one image against the net in double precision; see `against_double`."""
        return self._errors(self._prepared(trial))

    def errors_of_photo(self, name: str, photo: np.ndarray) -> Errors:
        """The same on a photo."""
        return self._errors(self._photo(name, photo))

    def _errors(self, given: _Pass) -> Errors:
        errors = against_double(
            lambda double: self._compare_pass(double, given),
            lambda double: self._own(double, given),
            self._net,
        )
        alone = dict(self._alone(given)) if errors else {}
        return {name: replace(error, alone=alone.get(name)) for name, error in errors.items()}

    def _alone(self, given: _Pass) -> Iterator[tuple[str, float]]:
        """The errors of outputs that are made from the net's own blobs: of the last layer, or of the ends."""
        import onnx

        net = self._net
        named = {**net.values, **dict.fromkeys(self._answers.values(), "")}
        graph = OnnxModel(
            onnx.load(self._path, load_external_data=False), named, None, str(self._path.parent)
        )
        parts = {}
        for blob, output in self._answers.items():
            before = [name for name in net.values if name in graph.values and name != output]
            parts[blob] = graph.part(output, before)
        wanted = {feed for part in parts.values() for feed in part.feeds}
        single = {b.name: np.array(b.array) for b in net.blobs(given.pixels, {*wanted, *self._answers})}
        feeds = {graph.feeds[0]: given.image, **single}
        for blob, part in parts.items():
            output = self._answers[blob]
            (found,) = part.blobs({name: feeds[name] for name in part.feeds}, [output])
            yield output, self._compare(given, output, "", found.array, single[blob]).error

    def _prepared(self, trial: Trial) -> _Pass:
        rows, columns = trial.image.shape[2:]
        return _Pass(trial.name, trial.image, trial.image, (rows, columns))

    def _photo(self, name: str, photo: np.ndarray) -> _Pass:
        pixels, size = self._ends.require_preprocess().apply(photo)
        return _Pass(name, np.ascontiguousarray(photo[None, :, :, ::-1]), pixels[None], size)

    def _run(self, image: np.ndarray) -> dict[str, np.ndarray]:
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

    def _compare_pass(self, net: TorchModel, given: _Pass) -> Iterator[Comparison]:
        """Compares one pass.

        If the file's choices are as good as the net's, the net continues with them, because later layers
        depend on them: Upsample writes each value to the position that pooling took it from.
        """
        found = self._run(given.image)
        for blob in net.blobs(given.pixels, net.choices | set(net.outputs)):
            layer = net.values[blob.name]
            if blob.choice is not None and blob.name in found:
                yield blob.choice.follow(given.name, blob.name, found[blob.name], layer)
            elif blob.name in self._answers:
                name = self._answers[blob.name]
                yield self._compare(given, name, layer, found[name], blob.array)

    def _own(self, double: TorchModel, given: _Pass) -> Iterator[Comparison]:
        """Compares what the net's own single precision gives."""
        single = {blob.name: blob.array for blob in self._net.blobs(given.pixels, self._answers)}
        for blob in double.blobs(given.pixels, self._answers):
            found = self._answer(given, single[blob.name])
            if self._ends.head == "argmax":
                found = best_class(found)
            layer = double.values[blob.name]
            yield self._compare(given, self._answers[blob.name], layer, found, blob.array)

    def _compare(
        self, given: _Pass, name: str, layer: str, found: np.ndarray, scores: np.ndarray
    ) -> Comparison:
        answer = self._answer(given, scores)
        if self._ends.head == "argmax":
            return compare_labels(given.name, name, found, answer, layer)
        return compare(given.name, name, found, answer, layer)

    def _answer(self, given: _Pass, scores: np.ndarray) -> np.ndarray:
        """The file's output from the net's scores; for labels, the scores in their size."""
        if self._ends.upsample:
            rows, columns = given.pixels.shape[2:]
            scores = upsample(scores, (rows, columns), given.keep)
        if self._ends.head == "softmax":
            exponents = np.exp(scores - scores.max(1, keepdims=True))
            scores = exponents / exponents.sum(1, keepdims=True)
        return scores


@dataclass(frozen=True)
class _Pass:
    """One input.

    Attributes:
        image: what the file reads.
        pixels: what the net reads.
        keep: the size of the answer.
    """

    name: str
    image: np.ndarray
    pixels: np.ndarray
    keep: tuple[int, int]


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
