"""The best class of each pixel, and its counts against a label, from scores smaller than the photo.

The native kernel enlarges, compares and counts row by row: neither the enlarged scores nor, for counts, the
labels are ever in memory as a whole. Where it is not built, the numpy twins run plane by plane; labels and
counts are the same, bit for bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from types import ModuleType

import numpy as np

from rlossctl.counts import BYTES, byte_pairs
from rlossctl.evaluation.predicting.upsample import aligned
from rlossctl.evaluation.predicting.views import View
from rlossctl.evaluation.running.answers import not_numbers
from rlossctl.evaluation.running.sessions import cpu_threads

# A thread is worth its start from this many scores on. The net has the other cores meanwhile.
_SCORES_OF_A_THREAD = 1 << 24


@functools.cache
def kernel() -> ModuleType | None:
    """The compiled kernels; None where they are not built."""
    try:
        from rlossctl import _native
    except ImportError:
        return None
    return _native


def best_of_view(view: View, scores: np.ndarray) -> np.ndarray:
    """The class with the greatest score at the view's own pixels, without its padding.

    Args:
        scores: float [C, h, w], C up to 255; enlarged to `view.size` if they are smaller.

    Returns:
        uint8 [*view.keep]; among equal scores the larger id, as `best_class`.

    Raises:
        NetError: a score is NaN.
    """
    native = kernel()
    if native is None or scores.dtype != np.float32:
        return best_class(view.enlarged(plane[None])[0] for plane in scores)
    labels = np.empty(view.keep, np.uint8)
    _run(native, scores, view.size, labels, None, None)
    return labels


def pairs_of_view(view: View, scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How often each true label meets each best class, without a label map.

    Args:
        scores: as for `best_of_view`.
        truth: uint8 [*view.keep].

    Returns:
        int64 [256, C].

    Raises:
        NetError: a score is NaN.
    """
    native = kernel()
    if native is None or scores.dtype != np.float32:
        return byte_pairs(truth, best_of_view(view, scores))[:, : len(scores)]
    pairs = np.zeros((BYTES, len(scores)), np.int64)
    _run(native, scores, view.size, None, np.ascontiguousarray(truth), pairs)
    return pairs


def best_class(scores: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
    """The class with each pixel's greatest score; among equal ones, the larger id wins (Caffe's SegAccuracy).

    Args:
        scores: float [C, H, W] with C up to 255, or its planes [H, W] one by one.

    Returns:
        uint8 [H, W].

    Raises:
        NetError: some score is NaN.
    """
    planes = iter(scores)
    best = next(planes).copy()
    labels = np.zeros(best.shape, np.uint8)
    wins = np.empty(best.shape, bool)
    ids = wins.view(np.uint8)
    for index, plane in enumerate(planes, start=1):
        # Ids only grow, so a maximum of bytes writes the winner's id, in an eighth of a masked copy's time.
        np.greater_equal(plane, best, out=wins)
        np.multiply(ids, np.uint8(index), out=ids)
        np.maximum(labels, ids, out=labels)
        np.maximum(best, plane, out=best)
    if best.size and np.isnan(best.max()):  # np.maximum keeps every NaN that it meets
        raise not_numbers()
    return labels


def _run(
    native: ModuleType,
    scores: np.ndarray,
    size: tuple[int, int],
    labels: np.ndarray | None,
    truth: np.ndarray | None,
    pairs: np.ndarray | None,
) -> None:
    """Calls the kernel for scores [C, h, w] of a picture of this size; the maps may be its top left part."""
    scores = np.ascontiguousarray(scores)
    given = labels if truth is None else truth
    assert given is not None
    keep = (given.shape[0], given.shape[1])
    numbers = native.best_classes(
        address(scores),
        *scores.shape,
        *map(address, enlarging(scores, size, keep)),
        *keep,
        *map(address, (labels, truth, pairs)),
        threads_for((len(scores), *keep)),
    )
    if not numbers:
        raise not_numbers()


def enlarging(
    scores: np.ndarray, size: tuple[int, int], keep: tuple[int, int]
) -> Sequence[np.ndarray | None]:
    """How the kernels enlarge scores [C, h, w] to the first (rows, columns) of a picture of this size.

    Returns:
        For the rows, then for the columns, the places before and after each, int32, and the latter's weight,
        float32; None six times if nothing is enlarged.
    """
    _, height, width = scores.shape
    if (height, width) == size:
        return [None] * 6
    return [*_neighbours(height, size[0], keep[0]), *_neighbours(width, size[1], keep[1])]


def threads_for(shape: tuple[int, ...]) -> int:
    """How many threads are worth their start for scores [C, H, W]."""
    return max(1, min(cpu_threads(), math.prod(shape) // _SCORES_OF_A_THREAD))


def _neighbours(given: int, wanted: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places before and after each of the first `count` positions, int32, and the latter's weight."""
    before, weight = aligned(given, wanted, count)
    after = np.minimum(before + 1, given - 1)
    return before.astype(np.int32), after.astype(np.int32), weight


def address(array: np.ndarray | None) -> int:
    """Where a contiguous array lies, for the kernels; 0 for None."""
    return 0 if array is None else array.ctypes.data
