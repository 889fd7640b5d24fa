"""Chooses the images that a report shows: the worst and the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlossctl.counts import ClassCounts


def image_scores(counts: ClassCounts, of: Sequence[int] | None = None) -> np.ndarray:
    """Each image's mean IoU over the classes that occur in its truth or prediction, [N].

    Args:
        counts: [N, C].
        of: the classes that count, all by default.

    Returns:
        float64 in 0..1; NaN for images without scored pixels of these classes.
    """
    return np.where(counts.truth.sum(axis=1) > 0, counts.mious(of), np.nan)


def choose(scores: np.ndarray, count: int) -> list[int]:
    """Positions of `count` images in the order of the list, half of them the worst and half the best.

    An odd count takes one more of the worst. Equal scores keep the order of the list, and images without a
    score are left out.
    """
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(scores[order])]
    if len(order) <= count:
        return sorted(order.tolist())
    best = count // 2
    return sorted([*order[: count - best].tolist(), *order[len(order) - best :].tolist()])
