"""Expected Dice with the number of true pixels approximated as normal: T-RNA and BA, as published."""

from __future__ import annotations

import numpy as np
import torch

_TAIL = 4.0  # standard deviations on either side; less than 1e-4 of the mass is beyond them
_CELLS = 1 << 22  # in the largest intermediate array


def dice(p: np.ndarray, g: float, refined: bool) -> np.ndarray:
    """D(0..d) from rlossctl.evaluation.predicting.rank, with approximate distributions.

    Args:
        p: float64 [d], in descending order.
        refined: T-RNA, a refined normal distribution for each Gamma_-j; else BA, Gamma's distribution for
            all.
    """
    mean, variance, third = _moments(p)
    deviation = max(np.sqrt(variance), 1e-6)
    low = max(0, int(np.floor(mean - _TAIL * deviation)) - 1)
    counts = np.arange(low, min(p.size, int(np.ceil(mean + _TAIL * deviation)) + 1) + 1)
    whole = _mass(counts, np.array([mean]), np.array([variance]), np.array([third]), p.size)[0]
    values = np.zeros(p.size + 1)
    rows = max(1, _CELLS // counts.size)
    carried = np.zeros(counts.size)  # sum_{j<=t} p_j P(Gamma_-j = l)
    for start in range(0, p.size, rows):
        part = p[start : start + rows]
        left = part[:, None] * (_left_out(counts, part, mean, variance, third, p.size) if refined else whole)
        mixture = carried + np.cumsum(left, axis=0)
        carried = mixture[-1]
        t = np.arange(start + 1, start + 1 + part.size)[:, None]
        values[start + 1 : start + 1 + part.size] = 2 * (mixture / (t + g + 1 + counts)).sum(axis=1)
        if g:
            values[start + 1 : start + 1 + part.size] += g * (whole / (t + g + counts)).sum(axis=1)
    if g:
        values[0] = g * (whole / (g + counts)).sum()
    return values


def _moments(p: np.ndarray) -> tuple[float, float, float]:
    v = p * (1 - p)
    return p.sum(), v.sum(), (v * (1 - 2 * p)).sum()


def _left_out(
    counts: np.ndarray, q: np.ndarray, mean: float, variance: float, third: float, size: int
) -> np.ndarray:
    """P(Gamma_-j = counts) for each left-out probability q_j, [len(q), len(counts)]."""
    v = q * (1 - q)
    return _mass(counts, mean - q, variance - v, third - v * (1 - 2 * q), size - 1)


def _mass(
    counts: np.ndarray, mean: np.ndarray, variance: np.ndarray, third: np.ndarray, largest: int
) -> np.ndarray:
    """Differences of the refined normal distribution F(x) = Phi(u) + skew (1 - u^2) phi(u) / 6."""
    deviation = np.sqrt(np.maximum(variance, 1e-12))[:, None]
    skew = third[:, None] / deviation**3
    edges = np.concatenate([[counts[0] - 1], counts])
    u = (edges + 0.5 - mean[:, None]) / deviation
    density = np.exp(-0.5 * np.minimum(u * u, 1400)) / np.sqrt(2 * np.pi)
    distribution = torch.special.ndtr(torch.from_numpy(u)).numpy() + skew * (1 - u * u) * density / 6
    mass = np.diff(np.clip(distribution, 0, 1), axis=1).clip(min=0)
    mass[:, counts > largest] = 0
    total = mass.sum(axis=1, keepdims=True)
    # Nothing is random: the nearest number gets all of the mass.
    nearest = np.abs(counts - mean[:, None])
    certain = (nearest == nearest.min(axis=1, keepdims=True)).astype(float)
    return np.where(total > 0, mass / np.where(total > 0, total, 1), certain)
