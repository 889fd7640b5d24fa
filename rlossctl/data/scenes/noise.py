"""Smooth random fields, from which the synthetic scenes are made."""

from __future__ import annotations

import numpy as np

Field = np.ndarray


def smooth_noise(rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray) -> Field:
    """Cubic B-spline noise, float32 [len(rows), len(columns)], about -1..1.

    Args:
        rows, columns: place of each row and column on the grid of random values, in cells. They need not be
            evenly spaced: rows that bunch up look like ground seen at an angle.
    """
    down, across = _spline(rows), _spline(columns)
    values = rng.uniform(-1, 1, (down.shape[1], across.shape[1])).astype(np.float32)
    return (down @ values @ across.T) * np.float32(1.8)


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: tuple[float, float],
    *,
    octaves: int = 4,
    gain: float = 0.55,
    rows: np.ndarray | None = None,
) -> Field:
    """Sum of `octaves` noises of doubling frequency, float32 [H, W], about -1..1.

    Args:
        shape: (H, W).
        cells: number of cells of the coarsest octave, down and across the image.
        gain: strength of an octave relative to the one before.
        rows: position of each row, 0..1, instead of even spacing.
    """
    rows = np.linspace(0, 1, shape[0]) if rows is None else rows
    columns = np.linspace(0, 1, shape[1])
    total = np.zeros(shape, dtype=np.float32)
    weight = 0.0
    for octave in range(octaves):
        strength = gain**octave
        frequency = 2.0**octave
        total += np.float32(strength) * smooth_noise(
            rng, rows * (cells[0] * frequency), columns * (cells[1] * frequency)
        )
        weight += strength**2
    return total / np.float32(weight**0.5)


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur of [H, W] or [H, W, C], weights normalised at the border; sigma in pixels."""
    field = field.astype(np.float32, copy=False)
    down, across = (_gaussian(size, sigma) for size in field.shape[:2])
    if field.ndim == 2:
        return down @ field @ across.T
    return np.moveaxis(down @ np.moveaxis(field, -1, 0) @ across.T, 0, -1)


def _spline(positions: np.ndarray) -> np.ndarray:
    """Weights [P, cells + 4] of uniform cubic B-splines at the positions."""
    positions = positions - positions.min()
    cell = np.floor(positions).astype(np.int64)
    t = positions - cell
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights = np.zeros((len(positions), int(cell.max()) + 4), dtype=np.float32)
    for offset, tap in enumerate(taps):
        weights[np.arange(len(positions)), cell + offset] = tap
    return weights


def _gaussian(size: int, sigma: float) -> np.ndarray:
    """Weights, float32 [size, size]; each row is normalised over the part within the image."""
    index = np.arange(size, dtype=np.float32)
    weights = np.exp(-0.5 * ((index[:, None] - index) / np.float32(sigma)) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)
