"""Tests whether two models really differ: a paired bootstrap over the images of the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlossctl.counts import ClassCounts

SAMPLES = 2000
_CELLS = 1 << 22  # in the largest array of draws


@dataclass(frozen=True)
class Difference:
    """One model's mIoU minus another's on the same images, as a share.

    Attributes:
        value: the difference on the list itself.
        low, high: bounds of the middle 95 % of the differences on lists drawn from it.
        samples: how many lists were drawn.
    """

    value: float
    low: float
    high: float
    samples: int

    def text(self) -> str:
        """In percentage points: +1.23 (+0.40 to +2.06)."""
        return f"{100 * self.value:+.2f} ({100 * self.low:+.2f} to {100 * self.high:+.2f})"


def compare(
    model: ClassCounts,
    other: ClassCounts,
    of: Sequence[int] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Difference | None:
    """The difference in the set's mIoU, with a percentile interval.

    Lists of the same length are drawn from the list with replacement, the same for both models, and mIoU is
    computed from the sums of their counts. The interval is about other images of this kind, not about another
    training run.

    Args:
        model, other: counts per image [N, C], for the same images in the same order.
        of: the classes of interest, all by default.

    Returns:
        None if either model has no mIoU.
    """
    chosen = slice(None) if of is None else list(of)
    # Images without counts for either model add nothing, but they stay in the list that is drawn from.
    first, second = (counts.to_array()[:, :, chosen].astype(np.float64) for counts in (model, other))
    number = len(first)
    value = float(_mious(first.sum(axis=0)) - _mious(second.sum(axis=0)))
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // number)
    found = []
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        draws = rng.multinomial(number, np.full(number, 1 / number), size=count).astype(np.float64)
        found.append(_mious(_drawn(draws, first)) - _mious(_drawn(draws, second)))
    differences = np.concatenate(found)
    differences = differences[~np.isnan(differences)]
    if np.isnan(value) or not differences.size:
        return None
    low, high = np.quantile(differences, [0.025, 0.975])
    return Difference(value, float(low), float(high), samples)


def _drawn(draws: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The summed counts of the drawn images: [samples, 3, C]."""
    return (draws @ counts.reshape(len(counts), -1)).reshape(len(draws), *counts.shape[1:])


def _mious(sums: np.ndarray) -> np.ndarray:
    """mIoU from sums [..., 3, C], over the classes that occur."""
    return ClassCounts.from_array(sums).mious()
