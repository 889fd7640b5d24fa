"""Drawing strokes into label maps with a round brush."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np

_PIECE = 2**16  # points examined together


@cache
def round_brush(width: int) -> np.ndarray:
    """Offsets (y, x) of the pixels in a disc `width` pixels wide, float64 [K, 2]."""
    side = np.arange(width) - (width - 1) / 2
    dy, dx = np.meshgrid(side, side, indexing="ij")
    disc = np.hypot(dy, dx) <= (width - 1) / 2 + 0.25
    return np.stack([dy[disc], dx[disc]], axis=1)


def stamp(points: np.ndarray, brush: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels under a brush at each of `points` [P, 2] (y, x), within `shape`."""
    pixels = np.floor(points[:, None] + brush + 0.5).astype(np.int64).reshape(-1, 2)
    fits = ((pixels >= 0) & (pixels < shape)).all(axis=1)
    rows, columns = pixels[fits].T
    return rows, columns


def draw_line(canvas: np.ndarray, points: np.ndarray, width: int, label: int) -> None:
    """Draws a polyline [P, 2] (y, x), or a dot, into uint8 [H, W] with a round brush. It may lead outside."""
    brush = round_brush(width)
    for line in samples_within(points, 0.5, canvas.shape, width):
        canvas[stamp(line, brush, canvas.shape)] = label


def on_photo(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """What of a stroke [P, 2] (y, x) can be drawn: a line, or a click's pixel; None for a click outside."""
    if len(points) > 1:
        return points
    fits = ((points >= 0) & (points <= shape[:2])).all()
    return np.minimum(points, np.array(shape[:2]) - 1) if fits else None


def resample(points: np.ndarray, spacing: float) -> np.ndarray:
    """A polyline [P, 2] with a point after every `spacing` of its length; a single point stays single."""
    along = arc_lengths(points)
    wanted = np.linspace(0, along[-1], int(along[-1] / spacing) + 1)
    return _at(points, along, wanted)


def samples_within(
    points: np.ndarray, spacing: float, shape: tuple[int, ...], margin: float
) -> Iterator[np.ndarray]:
    """Those points of `resample` that lie within `margin` of a picture of `shape`, in pieces of bounded size.

    A line may lead far outside the picture. Only points near it are computed, at the same positions.
    """
    along = arc_lengths(points)
    pieces = int(along[-1] / spacing)
    step = along[-1] / pieces if pieces else 0.0
    for first, last in _near(points, along, shape, margin):
        low, high = (math.ceil(first / step), math.floor(last / step)) if pieces else (0, 0)
        for start in range(low, min(high, pieces) + 1, _PIECE):
            numbers = np.arange(start, min(start + _PIECE, high + 1, pieces + 1))
            yield _at(points, along, np.where(numbers == pieces, along[-1], numbers * step))


def _near(
    points: np.ndarray, along: np.ndarray, shape: tuple[int, ...], margin: float
) -> list[tuple[float, float]]:
    """Stretches (first, last) of a line's length that pass near a picture; touching ones are joined."""
    low, high = np.full(2, -margin), np.array(shape) + margin
    if len(points) == 1:
        return [(0.0, 0.0)]
    start, way = points[:-1], np.diff(points, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        enters, leaves = (low - start) / way, (high - start) / way
    inside = (start >= low) & (start <= high)
    still = way == 0  # a segment that does not move along an axis is inside all the way or not at all
    first = np.where(still, np.where(inside, 0.0, 2.0), np.minimum(enters, leaves)).max(axis=1).clip(0)
    last = np.where(still, 1.0, np.maximum(enters, leaves)).min(axis=1).clip(max=1)
    stretches: list[tuple[float, float]] = []
    lengths = np.diff(along)
    for index in np.flatnonzero(first <= last):
        begin, end = along[index] + np.array([first[index], last[index]]) * lengths[index]
        if stretches and begin <= stretches[-1][1] * (1 + 1e-12) + 1e-9:
            begin = stretches.pop()[0]
        stretches.append((float(begin), float(end)))
    return stretches


def shorten(points: np.ndarray, ratio: float) -> np.ndarray:
    """The central part of a polyline; `ratio`, in (0, 1], is its share of the length. Vertices are kept."""
    along = arc_lengths(points)
    first, last = along[-1] * (1 - ratio) / 2, along[-1] * (1 + ratio) / 2
    between = along[(along > first) & (along < last)]
    return _at(points, along, np.concatenate([[first], between, [last]]))


def arc_lengths(points: np.ndarray) -> np.ndarray:
    """The length of a polyline [P, 2] up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])


def _at(points: np.ndarray, along: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(wanted, along, points[:, axis]) for axis in (0, 1)], axis=1)
