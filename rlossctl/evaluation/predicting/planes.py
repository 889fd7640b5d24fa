"""Class probabilities for the rank rules: an array, or the softmax of one view's scores, a plane at a time.

For a whole photo that the model sees once, the softmax of all classes at the photo's size never has to be in
memory. The native pass keeps two numbers for each pixel, its greatest score and the sum of its powers; they
give any class's probabilities when they are wanted. `upsample` and `averaging.activate` are the twin. Where
both it and numpy use AVX2 or AVX-512, the probabilities have the same bits; elsewhere numpy's exponential
differs in the last bits, by less than 1e-6 of a probability. (The sums over classes are in the order of the
classes. So are numpy's, but for a picture of one pixel.)
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from rlossctl.evaluation.predicting.best import address, enlarging, kernel, threads_for
from rlossctl.evaluation.predicting.views import View


class Planes(typing.Protocol):
    """Probabilities [C, H, W], class by class; arrays are such."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Those of one class, float [H, W]."""
        ...


@dataclass(frozen=True)
class Source:
    """Probabilities as the native code takes them.

    Attributes:
        handle: `_native.Probabilities`.
        threads: how many are worth their start.
        kept: the arrays that the handle has the addresses of.
    """

    handle: Any
    threads: int
    kept: tuple[object, ...]


class Softmax:
    """Probabilities of one view's pixels, float32.

    Attributes:
        shape: (C, *view.keep).
        source: for the native code.
        finite: whether all scores are, at the view's own size.
        negative: whether one of them is below 0.

    Args:
        scores: float32 [C, h, w], C up to 255; enlarged to `view.size` if they are smaller.
        temperature: divides the scores.
    """

    def __init__(self, view: View, scores: np.ndarray, temperature: float, native: ModuleType) -> None:
        self.shape: tuple[int, ...] = (len(scores), *view.keep)
        scores = np.ascontiguousarray(scores)
        places = enlarging(scores, view.size, view.keep)
        greatest, total = np.empty(view.keep, np.float32), np.empty(view.keep, np.float32)
        handle = native.Probabilities(
            address(scores),
            *scores.shape,
            *map(address, places),
            *view.keep,
            temperature,
            address(greatest),
            address(total),
        )
        self.source = Source(handle, threads_for(self.shape), (scores, *places, greatest, total))
        odd, self.negative = handle.norms(self.source.threads)
        self.finite = not odd

    def __getitem__(self, index: int, /) -> np.ndarray:
        """One class's probabilities, float32 [H, W]."""
        plane = np.empty(self.shape[1:], np.float32)
        self.source.handle.plane(index, address(plane), self.source.threads)
        return plane


def source_of(probabilities: Planes) -> Source | None:
    """The probabilities for the native code; None where it is not built, or they are not float32."""
    if isinstance(probabilities, Softmax):
        return probabilities.source
    native = kernel()
    if native is None or not isinstance(probabilities, np.ndarray) or not probabilities.size:
        return None
    if probabilities.dtype != np.float32:
        return None
    planes = np.ascontiguousarray(probabilities)
    handle = native.Probabilities(address(planes), *planes.shape, *[0] * 6, *planes.shape[1:], 1.0, *[0] * 2)
    return Source(handle, threads_for(planes.shape), (planes,))
