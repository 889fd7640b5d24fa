"""The photos to label: their names and sizes, and their pixels as a browser shows them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from rlossctl.annotating.recent import Recent
from rlossctl.data.images import image_orientation, image_size, read_photo
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.predicting.photos import Input
from rlossctl.progress import track

LARGEST_SHOWN = 4096  # pixels of the longer side; browsers cannot draw much more
_THUMBNAIL = 168
_KEPT_THUMBNAILS, _KEPT_PHOTOS = 1000, 4


class Entry(NamedTuple):
    """A photo's file, and its (height, width) as it is drawn on."""

    path: Path
    size: tuple[int, int]


class Album:
    """Photos by the name of their file without folder and suffix, as label_type STROKES knows them.

    Only headers are read at the start. Pixels are read when they are asked for, and few are kept.

    Args:
        upright: whether photos are turned as their EXIF orientation says.

    Attributes:
        entries: in the order given.
        unreadable: what is wrong with each photo that was left out.
        turned: how many photos EXIF would turn, or turns.

    Raises:
        UsageError: two photos have the same name, or one is not a file.
        DataError: none can be read.
    """

    def __init__(self, photos: Sequence[Input], upright: bool = False) -> None:
        self.upright = upright
        self.entries: dict[str, Entry] = {}
        self.unreadable: list[str] = []
        self.turned = 0
        for photo in track(photos, len(photos), "photos"):
            self._add(photo)
        if not self.entries:
            raise DataError("no photo can be read", found="; ".join(self.unreadable[:3]))
        self._thumbnails: Recent[bytes] = Recent(_KEPT_THUMBNAILS)
        self._jpegs: Recent[bytes] = Recent(_KEPT_PHOTOS)

    def pixels(self, name: str) -> np.ndarray:
        """The photo, uint8 [H, W, 3] BGR; raises DataError as `read_photo` does."""
        return read_photo(self.entries[name].path, upright=self.upright).pixels

    def jpeg(self, name: str) -> bytes:
        """The photo for a browser, its longer side at most LARGEST_SHOWN pixels."""
        return self._jpegs.get(name, lambda: self._encoded(name, LARGEST_SHOWN, 92))

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of the photo."""
        return self._thumbnails.get(name, lambda: self._encoded(name, _THUMBNAIL, 80))

    def _add(self, photo: Input) -> None:
        name = photo.path.stem
        if not photo.is_file:
            raise UsageError("strokes belong to photos on this machine", where=photo.where)
        if name in self.entries:
            raise UsageError(
                "two photos have the same name",
                where=name,
                found=f"{self.entries[name].path} and {photo.path}",
                expected="file names that differ, because all labels go into one folder",
                advice="label the photos folder by folder",
            )
        try:
            size = image_size(photo.path, upright=self.upright)
            self.turned += image_orientation(photo.path) != 1
        except DataError as error:
            self.unreadable.append(f"{photo.path}: {error.found}")
            return
        self.entries[name] = Entry(photo.path, size)

    def _encoded(self, name: str, longest: int, quality: int) -> bytes:
        pixels = shrunk(self.pixels(name), longest)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()


def shrunk(array: np.ndarray, longest: int) -> np.ndarray:
    """[H, W] or [H, W, C] with the longer side at most `longest`, each pixel the mean of those it covers."""
    scale = longest / max(array.shape[:2])
    if scale >= 1:
        return array
    height, width = (max(1, round(side * scale)) for side in array.shape[:2])
    return np.asarray(cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA))
