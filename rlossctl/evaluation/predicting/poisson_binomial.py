"""Expected Dice and IoU from the exact distribution of the number of true pixels, in O(d^2)."""

from __future__ import annotations

import numpy as np


def distribution(p: np.ndarray) -> np.ndarray:
    """P(number of successes = 0..d) for independent trials with probabilities p, float64 [d + 1]."""
    f = np.zeros(p.size + 1)
    f[0] = 1.0
    for count, q in enumerate(p, start=1):
        f[1 : count + 1] = f[1 : count + 1] * (1 - q) + f[:count] * q
        f[0] *= 1 - q
    return f


def dice(p: np.ndarray, g: float) -> np.ndarray:
    """D(0..d) from rlossctl.evaluation.predicting.rank; p float64 [d] in descending order."""
    whole = distribution(p)
    counts = np.arange(p.size + 1)
    mixture = np.zeros(p.size)  # sum_{j<=t} p_j P(Gamma_-j = l)
    values = np.zeros(p.size + 1)
    for t, q in enumerate(p, start=1):
        mixture += q * _without(whole, q)
        values[t] = 2 * (mixture / (t + g + 1 + counts[:-1])).sum()
    if g:
        values += [g * (whole / (t + g + counts)).sum() for t in counts]
    return values


def iou(p: np.ndarray, g: float) -> np.ndarray:
    """I(0..d) from rlossctl.evaluation.predicting.rank; p float64 [d] in descending order."""
    d = p.size
    mass = np.concatenate([[0.0], np.cumsum(p)])
    values = np.zeros(d + 1)
    rest = np.zeros(d + 1)  # the distribution of R_t, from t = d down
    rest[0] = 1.0
    counts = np.arange(d + 1)
    for t in range(d, -1, -1):
        if t < d:
            q = p[t]
            rest[1:] = rest[1:] * (1 - q) + rest[:-1] * q
            rest[0] *= 1 - q
        if t + g > 0:
            values[t] = (mass[t] + g) * (rest / (t + g + counts)).sum()
    return values


def _without(whole: np.ndarray, q: float) -> np.ndarray:
    """The distribution without one trial of probability q: a deconvolution from its stable end."""
    d = whole.size - 1
    f = np.zeros(d)
    if q <= 0.5:
        before = 0.0
        for k in range(d):
            before = f[k] = (whole[k] - q * before) / (1 - q)
    else:
        after = 0.0
        for k in range(d - 1, -1, -1):
            after = f[k] = (whole[k + 1] - (1 - q) * after) / q
    return f
