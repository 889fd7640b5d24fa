"""Drawing strokes into label maps with a round brush."""

from __future__ import annotations

import numpy as np


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


def resample(points: np.ndarray, spacing: float) -> np.ndarray:
    """A polyline [P, 2] with a point after every `spacing` of its length; a single point stays single."""
    along = arc_lengths(points)
    wanted = np.linspace(0, along[-1], int(along[-1] / spacing) + 1)
    return _at(points, along, wanted)


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
