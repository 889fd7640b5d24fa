"""Connected regions of a label map and the distance to their borders, in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Regions:
    """Connected regions of equal id.

    Attributes:
        index: int32 [H, W], number of the region that each pixel belongs to.
        ids: [R] class id of each region.
        areas: [R] pixels.
        boxes: [R, 4] top, left, bottom, right; the last two exclusive.
    """

    index: np.ndarray
    ids: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray


def find_regions(mask: np.ndarray) -> Regions:
    """The 8-connected regions of equal value in `mask` [H, W].

    Runs of equal value in each row are joined to the runs they touch in the next row. There are few runs, so
    joining them is cheap.
    """
    rows, columns = mask.shape
    starts = np.ones(mask.shape, dtype=bool)
    starts[:, 1:] = mask[:, 1:] != mask[:, :-1]
    runs = np.cumsum(starts.ravel(), dtype=np.int32).reshape(mask.shape) - 1
    first, second = _touching(mask, starts, runs)
    roots = _join(int(runs[-1, -1]) + 1, first, second)
    _, region_of_run = np.unique(roots, return_inverse=True)
    top, left = np.nonzero(starts)
    lengths = np.diff(np.append(top * columns + left, rows * columns))
    return _describe(mask[top, left], region_of_run.astype(np.int32), top, left, lengths, runs)


def distance_inside(index: np.ndarray) -> np.ndarray:
    """Distance from each pixel to the border of its region, float32 [H, W]; 1 at the border itself.

    The image's frame counts as a border. The steps are 1 and sqrt(2) (a chamfer distance), so the result is
    at most 8 % too long.
    """
    rows, columns = index.shape
    border = np.zeros(index.shape, dtype=bool)
    for here, there in _neighbours(rows, columns):
        border[here] |= index[here] != index[there]
    border[[0, -1]] = True
    border[:, [0, -1]] = True
    distance = np.where(border, np.float32(1), np.float32(rows + columns))
    ramp = np.arange(columns, dtype=np.float32)
    _sweep(distance, ramp)
    _sweep(distance[::-1, ::-1], ramp)
    return distance


def _touching(mask: np.ndarray, starts: np.ndarray, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of equal value in neighbouring rows that touch, diagonals included."""
    columns = mask.shape[1]
    pairs = []
    for shift in (-1, 0, 1):
        above = np.s_[:-1, max(0, -shift) : columns - max(0, shift)]
        below = np.s_[1:, max(0, shift) : columns - max(0, -shift)]
        # The overlap of two runs begins where one of them starts, or at the window's first column.
        wanted = starts[above] | starts[below]
        wanted[:, :1] = True
        wanted &= mask[above] == mask[below]
        pairs.append((runs[above][wanted], runs[below][wanted]))
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def _join(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """For each run, the smallest number of a run connected to it (hooking and pointer jumping)."""
    roots = np.arange(count, dtype=np.int32)
    while True:
        a, b = roots[first], roots[second]
        if np.array_equal(a, b):
            return roots
        lower = np.minimum(a, b)
        np.minimum.at(roots, a, lower)
        np.minimum.at(roots, b, lower)
        while True:
            jumped = roots[roots]
            if np.array_equal(jumped, roots):
                break
            roots = jumped


def _describe(
    values: np.ndarray,
    region_of_run: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    lengths: np.ndarray,
    runs: np.ndarray,
) -> Regions:
    count = int(region_of_run.max()) + 1
    ids = np.zeros(count, dtype=values.dtype)
    ids[region_of_run] = values
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, :2] = max(runs.shape)
    boxes[:, 2:] = 0
    for column, values_, reduce in (
        (0, top, np.minimum),
        (1, left, np.minimum),
        (2, top + 1, np.maximum),
        (3, left + lengths, np.maximum),
    ):
        reduce.at(boxes[:, column], region_of_run, values_)
    areas = np.bincount(region_of_run, weights=lengths, minlength=count).astype(np.int64)
    return Regions(region_of_run[runs], ids, areas, boxes)


def _neighbours(rows: int, columns: int) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Slices (here, there) for each of the eight directions."""
    pairs = []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                here = np.s_[max(0, -dy) : rows - max(0, dy), max(0, -dx) : columns - max(0, dx)]
                there = np.s_[max(0, dy) : rows - max(0, -dy), max(0, dx) : columns - max(0, -dx)]
                pairs.append((here, there))
    return pairs


def _sweep(distance: np.ndarray, ramp: np.ndarray) -> None:
    """Carries distances from the row above and from the left, in place."""
    diagonal = np.float32(2**0.5)
    for y in range(distance.shape[0]):
        row = distance[y]
        if y:
            above = distance[y - 1]
            np.minimum(row, above + 1, out=row)
            np.minimum(row[1:], above[:-1] + diagonal, out=row[1:])
            np.minimum(row[:-1], above[1:] + diagonal, out=row[:-1])
        # d[x] = min(d[x], d[x-1] + 1) along the row is a running minimum of d[x] - x.
        np.minimum(row, np.minimum.accumulate(row - ramp) + ramp, out=row)
