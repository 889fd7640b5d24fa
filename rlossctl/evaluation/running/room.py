"""How large an image fits in memory: a larger photo runs in tiles."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cached_property
from threading import Lock

from rlossctl.errors import RlossWarning

SHARE = 0.6  # of the memory: the rest is for weights, workspaces, other programs
SMALL = 1 << 20  # pixels: up to here nothing is computed
_STEP = 64  # tiles begin at multiples of this, which strides divide, and so are their sides


class TiledPhotos(RlossWarning):
    """Warns that photos run in tiles, because they need more memory than there is."""


class Room:
    """The memory that a model's pass needs, and what there is. Safe to use from several threads.

    Args:
        need: computes the bytes that the pass needs for each pixel of the image; None if it is unknown.
        available: the bytes that there are; None if that is unknown.
        small: photos of up to this many pixels run whole, and nothing is computed; SMALL by default.
    """

    def __init__(
        self, need: Callable[[], float | None], available: Callable[[], int | None], small: int | None = None
    ) -> None:
        self._find_need, self._find_available = need, available
        self._small = SMALL if small is None else small
        self._lock, self._said = Lock(), False

    @cached_property
    def _most(self) -> float:
        """How many pixels fit."""
        need, there = self._find_need(), self._find_available()
        return SHARE * there / need if need and there is not None else math.inf

    def within(self, memory: int | None) -> Room:
        """The same pass within at most `memory` bytes; this room itself if that is None."""
        return self if memory is None else Room(self._find_need, lambda: memory, 0)

    def window(self, height: int, width: int) -> tuple[int, int] | None:
        """(height, width) of tiles of a photo of this size that fit; None if the photo does. Warns once."""
        if height * width <= self._small or height * width <= self._pixels():
            return None
        side = max(_STEP, math.isqrt(int(self._pixels())) // _STEP * _STEP)
        window = min(side, height), min(side, width)
        with self._lock:
            if not self._said:
                warnings.warn(
                    f"a photo of {width} x {height} needs more memory than there is: such photos run in "
                    f"tiles of {window[1]} x {window[0]}, which can change predictions near their "
                    "borders; --memory and --protocol tiles --tile H,W choose other tiles",
                    TiledPhotos,
                    stacklevel=2,
                )
            self._said = True
        return window

    def _pixels(self) -> float:
        with self._lock:
            return self._most


def aligned_starts(length: int, tile: int, overlap: float) -> list[int]:
    """First rows (or columns) of windows whose pixels a net sees as it sees them in the whole photo.

    They are multiples of a number that strides divide, and nothing is padded: the last window is the smaller.

    Args:
        overlap: see `Protocol`.
        tile: the window's side, a multiple of that number if it is less than the length.
    """
    if length <= tile:
        return [0]
    step = max(_STEP, math.floor(tile * (1 - overlap)) // _STEP * _STEP)
    return list(range(0, length - tile + step, step))
