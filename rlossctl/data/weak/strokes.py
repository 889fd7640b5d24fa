"""Finding paths through the middle of a region, as a hand would draw them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlossctl.data.weak.raster import arc_lengths, resample

_STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
# Extra cost of a path at the border compared with one in the middle.
_BORDER_COST = 8.0


class RegionPaths:
    """Yields paths along the middle of one region: the longest first, then branches to the farthest points.

    The region is divided into blocks, each represented by its pixel farthest from the border. A path is the
    cheapest way between two blocks, and going near the border is expensive. Its points are float [P, 2] of
    (y, x), at least one.

    Args:
        inside: bool [h, w], the region within its box.
        distance: float [h, w], distance to the region's border.
        rng: draws the wobble.
    """

    def __init__(self, inside: np.ndarray, distance: np.ndarray, rng: np.random.Generator) -> None:
        depth = np.where(inside, distance, 0).astype(np.float32)
        self._deepest = float(depth.max())
        step = int(np.clip(max(self._deepest / 3, max(inside.shape) / 60), 1, 8))
        self._depth, self._points = _coarsen(depth, step)
        self._weights = _edge_weights(self._depth, self._points, self._deepest)
        self._rng = rng

    def __iter__(self) -> Iterator[np.ndarray]:
        start = self._farthest(self._reach([_largest(self._depth)]))
        reach = self._reach([start])
        main = self._trace(reach, self._farthest(reach))
        yield self._finish(main, joined=False)
        tree = list(main)
        while True:
            reach = self._reach(tree)
            branch = self._trace(reach, self._farthest(reach))
            if len(branch) < 3:
                return
            tree += branch
            yield self._finish(branch, joined=True)

    def _reach(self, sources: list[tuple[int, int]]) -> np.ndarray:
        """Cost of the cheapest way from the sources to every block; inf if there is none."""
        rows, columns = self._depth.shape
        padded = np.full((rows + 2, columns + 2), np.inf, dtype=np.float32)
        reach = padded[1:-1, 1:-1]
        for source in sources:
            reach[source] = 0
        views = [padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns] for dy, dx in _STEPS]
        while True:
            through = np.stack(views)
            through += self._weights
            best = through.min(axis=0)
            if not (best < reach).any():
                return padded
            np.minimum(reach, best, out=reach)

    def _farthest(self, padded: np.ndarray) -> tuple[int, int]:
        return _largest(np.where(np.isfinite(padded), padded, -1)[1:-1, 1:-1])

    def _trace(self, padded: np.ndarray, end: tuple[int, int]) -> list[tuple[int, int]]:
        """Blocks from `end` back to the nearest source."""
        y, x = int(end[0]), int(end[1])
        path = [(y, x)]
        while padded[y + 1, x + 1] > 0:
            costs = [
                padded[y + 1 + dy, x + 1 + dx] + self._weights[k, y, x] for k, (dy, dx) in enumerate(_STEPS)
            ]
            dy, dx = _STEPS[int(np.argmin(costs))]
            y, x = y + dy, x + dx
            path.append((y, x))
        return path

    def _finish(self, blocks: list[tuple[int, int]], *, joined: bool) -> np.ndarray:
        """Points of a path: ends cut back from the border, smoothed, with a slight wobble."""
        index = tuple(np.asarray(blocks).T)
        points, depth = self._points[index], self._depth[index]
        first = _cut(points, depth)
        last = len(points) - (len(points) // 6 if joined else _cut(points[::-1], depth[::-1]))
        points, depth = points[first : max(last, first + 1)], depth[first : max(last, first + 1)]
        points = resample(_smooth(_smooth(points)), 1.0)
        wobble = _smooth_noise(len(points), self._rng) * 0.15 * min(self._deepest, 12.0)
        return points + wobble


def _coarsen(depth: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest depth in each block, and its position: float [gh, gw] and float [gh, gw, 2]."""
    rows, columns = (-(-side // step) for side in depth.shape)
    padded = np.zeros((rows * step, columns * step), dtype=np.float32)
    padded[: depth.shape[0], : depth.shape[1]] = depth
    blocks = padded.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    best = blocks.argmax(axis=2)
    y = best // step + np.arange(rows)[:, None] * step
    x = best % step + np.arange(columns) * step
    return blocks.max(axis=2), np.stack([y, x], axis=2).astype(np.float64)


def _edge_weights(depth: np.ndarray, points: np.ndarray, deepest: float) -> np.ndarray:
    """Cost of going from a neighbour to a block, float32 [8, gh, gw]; inf to and from empty blocks."""
    rows, columns = depth.shape
    cost = 1 + _BORDER_COST * (1 - depth / deepest) ** 2
    cost[depth == 0] = np.inf
    padded_cost = np.pad(cost, 1, constant_values=np.inf)
    padded_points = np.pad(points, ((1, 1), (1, 1), (0, 0)))
    weights = np.empty((len(_STEPS), rows, columns), dtype=np.float32)
    for k, (dy, dx) in enumerate(_STEPS):
        there = np.s_[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
        length = np.hypot(*np.moveaxis(padded_points[there] - points, 2, 0))
        # An empty block has no position of its own: inf times a length of 0 must stay inf.
        weights[k] = np.maximum(length, 0.5) * (cost + padded_cost[there]) / 2
    return weights


def _cut(points: np.ndarray, depth: np.ndarray) -> int:
    """How many points to drop at the start: those that are nearer to the border behind than at the sides."""
    along = arc_lengths(points)
    free = np.nonzero(along >= 1.2 * depth)[0]
    most = int(0.22 * len(points))
    return min(int(free[0]), most) if len(free) else most


def _smooth(points: np.ndarray) -> np.ndarray:
    if len(points) < 3:
        return points
    inner = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
    return np.concatenate([points[:1], inner, points[-1:]])


def _smooth_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Slowly varying noise of about unit size, [count, 2]."""
    knots = max(2, count // 12 + 2)
    values = rng.standard_normal((knots, 2))
    at = np.linspace(0, knots - 1, count)
    return np.stack([np.interp(at, np.arange(knots), values[:, axis]) for axis in (0, 1)], axis=1)


def _largest(values: np.ndarray) -> tuple[int, int]:
    """Row and column of the first largest value."""
    y, x = np.unravel_index(int(np.argmax(values)), values.shape)
    return int(y), int(x)
