"""Decodes the photos and labels of a list and prepares them for the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlossctl.data.images import Photo, read_edges, read_label, read_photo
from rlossctl.data.lists import Sample
from rlossctl.errors import DataError
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.views import View
from rlossctl.evaluation.running.decoders import Call


@dataclass(frozen=True)
class Listed:
    """A list, already read.

    Attributes:
        samples: its lines; each needs a label image.
        name: its name in errors.
        upright: turn photos as their EXIF orientation says; the labels are drawn on upright photos.
        maps: labels are grey levels, from 128 on class 1, instead of class ids.
    """

    samples: Sequence[Sample]
    name: str = "list"
    upright: bool = False
    maps: bool = False

    def read(self, index: int, call: Call) -> Pair:
        """Photo and label of a line; see `read_pair`. `call` decodes; see `decoders.decoding`."""
        pair: Pair = call(read_pair, self.samples[index], self.name, self.upright, self.maps)
        return pair


class Pair(NamedTuple):
    """Photo uint8 [H, W, 3] BGR and label uint8 [H, W] of the same size."""

    photo: Photo
    truth: np.ndarray


@dataclass(frozen=True)
class Loaded:
    """One sample, ready for the model.

    Attributes:
        index: its place in the list, from 0.
        photo: uint8 [H, W, 3] BGR.
        truth: uint8 [H, W], class ids and the ignore label.
        views: the model's inputs.
        rotated: whether the photo is not upright according to EXIF, and was not turned.
    """

    index: int
    sample: Sample
    photo: np.ndarray
    truth: np.ndarray
    views: list[View]
    rotated: bool = False


def load(listed: Listed, index: int, predictor: Predictor, ignore: int, call: Call) -> Loaded:
    """Decodes and prepares one sample.

    Args:
        ignore: the label for padding.
        call: decodes; see `decoders.decoding`.

    Raises:
        DataError: as for `read_pair`.
    """
    photo, truth = listed.read(index, call)
    views = predictor.prepare(photo.pixels)
    shown = predictor.shown(photo.pixels, truth, ignore)
    return Loaded(index, listed.samples[index], *shown, views, photo.rotated)


def read_pair(sample: Sample, list_name: str, upright: bool = False, maps: bool = False) -> Pair:
    """Photo and label of one line of a list.

    Args:
        upright: as for `read_image`.
        maps: as for `Listed`.

    Raises:
        DataError: the line has no label, a file cannot be read, or the two differ in size.
    """
    listed = f"{list_name}:{sample.line}"
    if sample.label is None:
        raise DataError(
            "the line has no label",
            where=listed,
            found=sample.image,
            expected="`image label`, two names separated by a space",
            advice="add the label image's name",
        )
    photo = read_photo(sample.image, upright=upright, listed=listed)
    truth = read_edges(sample.label, listed=listed) if maps else read_label(sample.label, listed=listed)
    if truth.shape != photo.pixels.shape[:2]:
        turn = "its EXIF rotation is not applied: try --upright" if photo.rotated else "photos may be rotated"
        raise DataError(
            "image and label differ in size",
            where=listed,
            found=f"{_size(photo.pixels)} pixels in {sample.image}, {_size(truth)} in {sample.label}",
            expected="the same width and height",
            advice=f"check that the label belongs to the image ({turn}); "
            "labels are never resized for scoring",
        )
    return Pair(photo, truth)


def groups(items: Iterable[Loaded], size: int) -> Iterator[Sequence[Loaded]]:
    """Groups up to `size` neighbours that each have one view of the same shape; any other item is alone.

    An error in `items` is raised after the items before it.
    """
    group: list[Loaded] = []
    try:
        for item in items:
            fits = group and len(group) < size and len(item.views) == len(group[0].views) == 1
            if group and not (fits and item.views[0].pixels.shape == group[0].views[0].pixels.shape):
                yield group
                group = []
            group.append(item)
    except DataError:
        if group:
            yield group
        raise
    if group:
        yield group


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
