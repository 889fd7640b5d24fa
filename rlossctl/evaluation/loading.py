"""Photos and labels of a list, decoded and prepared ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rlossctl.data.images import read_image, read_label
from rlossctl.data.lists import Sample
from rlossctl.errors import DataError
from rlossctl.evaluation.predictor import Predictor, View


@dataclass(frozen=True)
class Loaded:
    """One sample, ready for the model.

    Attributes:
        index: its place in the list, from 0.
        photo: uint8 [H, W, 3] BGR.
        truth: uint8 [H, W], class ids and the ignore label.
        views: the model's inputs.
    """

    index: int
    sample: Sample
    photo: np.ndarray
    truth: np.ndarray
    views: list[View]


def load(index: int, sample: Sample, predictor: Predictor, ignore: int, source: str) -> Loaded:
    """Reads and prepares one sample.

    Raises:
        DataError: no label is named, a file cannot be read, or the two differ in size.
    """
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
            advice="check that the label belongs to the image (a photo's EXIF rotation is not applied); "
            "labels are never resized for scoring",
        )
    views = predictor.prepare(photo)
    return Loaded(index, sample, *predictor.shown(photo, truth, ignore), views)


def read_ahead(
    jobs: Iterable[tuple[int, Sample]], work: Callable[[int, Sample], Loaded], workers: int
) -> Iterator[Loaded]:
    """Yields the samples in order while `workers` threads prepare the next ones.

    Pillow's decoders and numpy leave the interpreter lock, so threads do what processes would, without
    copying every picture once more.
    """
    with ThreadPoolExecutor(workers, "rlossctl-decode") as pool:
        waiting: deque[Future[Loaded]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(work, *job))
                if len(waiting) > workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def groups(items: Iterable[Loaded], size: int) -> Iterator[Sequence[Loaded]]:
    """Neighbours whose single views have one shape, up to `size` of them; all others alone."""
    group: list[Loaded] = []
    for item in items:
        fits = group and len(group) < size and len(item.views) == len(group[0].views) == 1
        if group and not (fits and item.views[0].pixels.shape == group[0].views[0].pixels.shape):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
