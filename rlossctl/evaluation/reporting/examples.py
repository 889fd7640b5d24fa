"""Which images of a list a report shows: the worst and the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlossctl.counts import ClassCounts


def image_scores(counts: ClassCounts, of: Sequence[int] | None = None) -> np.ndarray:
    """The mean IoU of each image over the classes that it has in truth or prediction, [N].

    Args:
        counts: [N, C].
        of: the classes that count, all by default.

    Returns:
        float64 in 0..1, NaN for images without a scored pixel of these classes.
    """
    return np.where(counts.truth.sum(axis=1) > 0, counts.mious(of), np.nan)


def choose(scores: np.ndarray, count: int) -> list[int]:
    """Positions of `count` images in the order of the list: half of them the worst, half the best.

    Of an odd number one more is from the worst; equal scores come in the list's order, and images without a
    score are left out.
    """
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(scores[order])]
    if len(order) <= count:
        return sorted(order.tolist())
    best = count // 2
    return sorted([*order[: count - best].tolist(), *order[len(order) - best :].tolist()])
