"""One pass over a list: images through a runner, predictions into one confusion matrix."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlossctl.data.images import read_image, read_label
from rlossctl.data.lists import Sample
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError, NetError
from rlossctl.evaluation.confusion import Confusion
from rlossctl.evaluation.predictor import Predictor, View
from rlossctl.evaluation.runners import LabelRunner, Runner
from rlossctl.evaluation.upsample import upsample
from rlossctl.progress import track


@dataclass(frozen=True)
class Picture:
    """One evaluated image, for reports.

    Attributes:
        name: the image file as the list leads to it.
        photo: uint8 [H, W, 3] BGR.
        truth: uint8 [H, W] class ids and the ignore label.
        prediction: uint8 [H, W] class ids.
    """

    name: str
    photo: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


@dataclass
class Evaluation:
    """What one pass gave.

    Attributes:
        confusion: counts over all scored pixels of all images.
        class_names: one for each class.
        images: how many images were evaluated.
        seconds: wall-clock time of the whole pass, reading included.
        backend: what computed the scores.
        preprocess: how the images were prepared; None where the model does it.
        pictures: the images that were asked to be kept.
    """

    confusion: Confusion
    class_names: list[str]
    images: int
    seconds: float
    backend: str
    preprocess: Preprocess | None
    pictures: list[Picture] = field(default_factory=list)

    def to_json(self, metric: str = "standard") -> dict[str, Any]:
        """Plain values for a JSON file; scores of classes that do not occur are null.

        With metric "caffe" the key `caffe` holds the three numbers of Caffe's SegAccuracy, too.
        """
        scores = zip(self.class_names, self.confusion.classes(), strict=True)
        content: dict[str, Any] = {
            "miou": self.confusion.miou(),
            "pixel_accuracy": self.confusion.pixel_accuracy(),
            "mean_accuracy": self.confusion.mean_accuracy(),
            "classes": [
                {"name": name, "iou": score.iou, "accuracy": score.accuracy, "pixels": score.pixels}
                for name, score in scores
            ],
            "images": self.images,
            "seconds": self.seconds,
            "backend": self.backend,
            "preprocess": None if self.preprocess is None else json.loads(self.preprocess.to_json()),
            "metric": metric,
        }
        if metric == "caffe":
            caffe = self.confusion.caffe_scores()
            content["caffe"] = [caffe.pixel_accuracy, caffe.mean_recall, caffe.mean_iou]
        return content


def evaluate(
    runner: Runner | LabelRunner,
    samples: Sequence[Sample],
    *,
    preprocess: Preprocess | None = None,
    class_names: Sequence[str] | None = None,
    ignore: int = 255,
    source: str = "list",
    pictures: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Scores a model on labelled images, each at its own size, with one confusion matrix for the set.

    Args:
        runner: the model.
        samples: lines of a list; each needs a label image.
        preprocess: replaces the runner's own.
        class_names: replace the runner's own; "class 0", ... where neither has any.
        ignore: label of pixels that are not scored.
        source: the list's name, for errors.
        pictures: keep this many images (spread evenly over the list) for a report.
        progress: a bar on a terminal, plain lines elsewhere.

    Raises:
        DataError: a file that cannot be read, or a label that does not fit; names the list's line.
        NetError: the model fails, gives other than `num_classes` scores or no numbers, or no preprocessing
            is known.
    """
    predictor = Predictor(runner, preprocess)
    names = names_for(runner, class_names)
    confusion = Confusion(runner.num_classes, ignore)
    keep = _spread(len(samples), pictures)
    kept = []
    start = time.perf_counter()
    loaded = _read_ahead(samples, predictor, source)
    for index, item in enumerate(track(loaded, len(samples), "images") if progress else loaded):
        prediction = predictor.finish(item.photo, item.views, predictor.run(item.views)).labels
        confusion.add(item.truth, prediction, item.sample.label)
        if index in keep:
            kept.append(Picture(item.sample.image, item.photo, item.truth, prediction))
    seconds = time.perf_counter() - start
    return Evaluation(confusion, names, len(samples), seconds, runner.backend, predictor.preprocess, kept)


def predict(runner: Runner, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class ids of one image.

    Args:
        pixels: float32 [3, H, W], preprocessed and padded at the bottom and the right.
        size: (height, width) of the real picture inside it.

    Returns:
        uint8 [height, width]. Of equal scores the larger id wins, as in Caffe's SegAccuracy and ArgMax.
    """
    scores = runner.scores(pixels[None])
    if scores.shape[:2] != (1, runner.num_classes):
        raise NetError(
            "the model gives another number of scores than it has classes",
            found=f"scores of shape {scores.shape}",
            expected=f"shape (1, {runner.num_classes}, h, w)",
            advice="check which blob holds the scores, and the number of classes",
        )
    scores = upsample(scores, pixels.shape[1:], keep=size)[0]
    if np.isnan(scores).any():
        raise NetError(
            "the model's scores are not numbers (NaN)",
            advice="check the weights: the training that made them may have diverged",
        )
    reversed_ids = scores[::-1].argmax(axis=0)  # argmax takes the first maximum
    return (len(scores) - 1 - reversed_ids).astype(np.uint8)


def names_for(runner: Runner | LabelRunner, class_names: Sequence[str] | None = None) -> list[str]:
    """The class names to print: the caller's, else the model's, else numbers.

    Raises:
        DataError: there are more or fewer names than classes.
    """
    names = class_names or runner.classes or [f"class {index}" for index in range(runner.num_classes)]
    if len(names) != runner.num_classes:
        raise DataError(
            "the class names do not fit the model",
            found=f"{len(names)} names",
            expected=f"{runner.num_classes}",
            advice="name them with --classes FILE, one per line",
        )
    return list(names)


@dataclass(frozen=True)
class _Loaded:
    sample: Sample
    photo: np.ndarray
    truth: np.ndarray
    views: list[View]


def _load(sample: Sample, predictor: Predictor, source: str) -> _Loaded:
    listed = f"{source}:{sample.line}"
    if sample.label is None:
        raise DataError(
            "the line names no label",
            where=listed,
            found=sample.image,
            expected="`image label`, two names separated by a space",
            advice="add the label image's name",
        )
    photo = read_image(sample.image, listed=listed)
    truth = read_label(sample.label, listed=listed)
    if truth.shape != photo.shape[:2]:
        raise DataError(
            "image and label differ in size",
            where=listed,
            found=f"{_size(photo)} pixels in {sample.image}, {_size(truth)} in {sample.label}",
            expected="the same width and height",
            advice="check that the label belongs to the image; labels are never resized for scoring",
        )
    return _Loaded(sample, photo, truth, predictor.prepare(photo))


def _read_ahead(
    samples: Sequence[Sample], predictor: Predictor, source: str, ahead: int = 3
) -> Iterator[_Loaded]:
    """Yields the samples in order while a thread decodes the next ones."""
    with ThreadPoolExecutor(1, "rlossctl-decode") as pool:
        waiting: deque[Future[_Loaded]] = deque()
        try:
            for sample in samples:
                waiting.append(pool.submit(_load, sample, predictor, source))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _spread(total: int, count: int) -> set[int]:
    """`count` positions spread evenly over `total`: the same for every model on one list."""
    count = min(count, total)
    return {(2 * index + 1) * total // (2 * count) for index in range(count)}


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
