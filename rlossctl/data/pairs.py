"""Photo and label of one line of a list, as scoring needs them: of the same size, never resized."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rlossctl.data.images import Photo, read_edges, read_label, read_photo
from rlossctl.data.lists import Sample
from rlossctl.errors import DataError


class Pair(NamedTuple):
    """Photo uint8 [H, W, 3] BGR and label uint8 [H, W] of the same size."""

    photo: Photo
    truth: np.ndarray


def read_pair(sample: Sample, list_name: str, upright: bool = False, maps: bool = False) -> Pair:
    """Photo and label of one line of a list.

    Args:
        upright: as for `read_image`.
        maps: labels are grey levels, from 128 on class 1, instead of class ids.

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


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
