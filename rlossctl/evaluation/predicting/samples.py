"""Decodes the photos and labels of a list and prepares them for the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlossctl.data.lists import Sample
from rlossctl.data.pairs import Pair, read_pair
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

    @cached_property
    def digest(self) -> str:
        """A hash of the list's content: the names of photos and labels, not the files."""
        lines = "\n".join(f"{sample.image} {sample.label}" for sample in self.samples)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    def read(self, index: int, call: Call) -> Pair:
        """Photo and label of a line; see `read_pair`. `call` decodes; see `decoders.decoding`."""
        pair: Pair = call(read_pair, self.samples[index], self.name, self.upright, self.maps)
        return pair


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
