"""Expected Dice and IoU for few true pixels, from an integral over the generating function.

Let X >= 0 be a number of independent successes with generating function G(s) = prod (1 - p_j + p_j s). Then
E[1 / (a + X)] is the integral of s^(a-1) G(s) over 0..1. The integrand is smooth. Gauss-Legendre nodes
integrate it to rounding error if they are dense enough for its width 1 / (a + E[X]) at s = 1.
"""

from __future__ import annotations

import numpy as np

NODES = 64
# Smaller probabilities are summed by their power series; with x = p (1 - s), the error is below x^4 / 4 each.
_SMALL = 1e-3


def dice(first: np.ndarray, p: np.ndarray, g: float) -> np.ndarray:
    """D(0..n) from rlossctl.evaluation.predicting.rank.

    Args:
        first: the n greatest of p, float64 [n], in descending order.
        p: float64 [d], in any order.
    """
    s, weights = _nodes()
    whole = np.exp(_log_generating(p, s))
    # Leaving pixel j out divides the generating function by its own factor.
    factors = first[:, None] / (1 - first[:, None] * (1 - s))
    t = np.arange(1, first.size + 1)[:, None]
    values = np.zeros(first.size + 1)
    values[1:] = 2 * (np.cumsum(factors, axis=0) * s ** (t + g) * whole) @ weights
    if g:
        values[1:] += g * ((s ** (t + g - 1) * whole) @ weights)
        values[0] = _nothing_taken(p, g)
    return values


def iou(first: np.ndarray, rest: np.ndarray, g: float) -> np.ndarray:
    """I(0..n) from rlossctl.evaluation.predicting.rank.

    Args:
        first: the n greatest probabilities, float64 [n], in descending order.
        rest: the others, float64, in any order.
    """
    s, weights = _nodes()
    last = first.size
    logs = np.zeros((last + 1, s.size))
    logs[:last] = np.cumsum(np.log1p(-first[:, None] * (1 - s))[::-1], axis=0)[::-1]
    logs += _log_generating(rest, s)
    t = np.arange(1, last + 1)[:, None]
    values = np.zeros(last + 1)
    values[1:] = (np.cumsum(first) + g) * ((np.exp(logs[1:]) * s ** (t + g - 1)) @ weights)
    values[0] = _nothing_taken(np.concatenate([first, rest]), g) if g else 0.0
    return values


def _nothing_taken(p: np.ndarray, g: float) -> float:
    """g E[1 / (g + X)], integrated by parts because s^(g-1) has a pole at 0 for g below 1."""
    s, weights = _nodes()
    x = 1 - s
    large, small = p[p >= _SMALL], p[p < _SMALL]
    slope = (large[:, None] / (1 - large[:, None] * x)).sum(axis=0)
    slope += sum((small**k).sum() * x ** (k - 1) for k in (1, 2, 3))
    return float(1 - (s**g * np.exp(_log_generating(p, s)) * slope) @ weights)


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2


def _log_generating(p: np.ndarray, s: np.ndarray) -> np.ndarray:
    """log prod (1 - p_j (1 - s)) at each node."""
    x = 1 - s
    large, small = p[p >= _SMALL], p[p < _SMALL]
    series = sum(-(small**k).sum() * x**k / k for k in (1, 2, 3))
    return np.log1p(-large[:, None] * x).sum(axis=0) + series
