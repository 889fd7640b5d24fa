"""Expected Dice and IoU of a class's t most probable pixels, from sums of p, p^2 and p^3 that are exact.

Sums of floats depend on their order. These are sums of whole numbers: p in units of 2^-32, and what that
leaves in units of 2^-64, both rounded down. So the sums over a set of pixels are the same for any order,
sorted or not, and so is every number that follows from them: `screening` relies on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_UNIT = 2.0**32


@dataclass(frozen=True)
class Sums:
    """Sums over several sets of pixels, or over one.

    Attributes:
        sizes: int64 [...], how many pixels a set has.
        words: int64 [3, 2, ...], the sums of p, p^2 and p^3 in units of 2^-32 and 2^-64.
    """

    sizes: np.ndarray
    words: np.ndarray

    @classmethod
    def of_prefixes(cls, p: np.ndarray) -> Sums:
        """The sums of the first 0..d pixels of p, float [d]."""
        p = p.astype(np.float64)
        words = np.zeros((3, 2, p.size + 1), np.int64)
        for sums, power in zip(words, (p, p * p, p * p * p), strict=True):
            scaled = power * _UNIT
            high = np.floor(scaled)
            np.cumsum(high.astype(np.int64), out=sums[0, 1:])
            np.cumsum(np.floor((scaled - high) * _UNIT).astype(np.int64), out=sums[1, 1:])
        return cls(np.arange(p.size + 1), words)

    def __add__(self, other: Sums) -> Sums:
        """The sums of this one set with each of other, disjoint sets."""
        return Sums(self.sizes + other.sizes, self.words[:, :, None] + other.words)

    def __getitem__(self, place: int | slice | np.ndarray) -> Sums:
        """Some of the sets."""
        return Sums(self.sizes[place], self.words[:, :, place])

    def total(self) -> Sums:
        """Of sets [T], the sums of all together."""
        return Sums(self.sizes.sum(), self.words.sum(axis=2))

    def until(self) -> Sums:
        """Of sets [T], the sums of the first 0..T together: [T + 1]."""
        sizes = np.concatenate([[0], np.cumsum(self.sizes)])
        words = np.zeros((3, 2, len(sizes)), np.int64)
        np.cumsum(self.words, axis=2, out=words[:, :, 1:])
        return Sums(sizes, words)

    @property
    def mass(self) -> np.ndarray:
        """The sum of p."""
        return number(self.words[0])

    @property
    def squares(self) -> np.ndarray:
        """The sum of p^2."""
        return number(self.words[1])

    @property
    def variance(self) -> np.ndarray:
        """The sum of p (1 - p)."""
        return number(self.words[0] - self.words[1])

    @property
    def weighted_variance(self) -> np.ndarray:
        """The sum of p^2 (1 - p)."""
        return number(self.words[1] - self.words[2])


def curve(first: Sums, whole: Sums, metric: str, g: float, second: bool) -> np.ndarray:
    """The expectations with E[1/X] = 1/m + v/m^3, or 1/m alone (RMA); see
    rlossctl.evaluation.predicting.rank.

    Args:
        first: of the t most probable pixels, for any number of t.
        whole: of all pixels.
        metric: "dice" or "iou".
        g: smoothing.

    Returns:
        float64, one value for each t.
    """
    t, mass, total = first.sizes, first.mass, whole.mass
    spread = whole.variance if second else np.float64(0)
    with np.errstate(divide="ignore", invalid="ignore"):  # of t = 0 without smoothing, which is set below
        if metric == "iou":
            rest = whole.words[:, :, None] - first.words
            values = (mass + g) * reciprocal(
                t + g + total - mass, number(rest[0] - rest[1]) if second else 0.0
            )
        else:
            # The mean of Gamma_-j over j <= t, weighted by p_j; RMA does not leave out a pixel.
            some = np.maximum(mass, np.finfo(float).tiny)
            share = first.squares / some if second else 0.0
            lost = first.weighted_variance / some if second else 0.0
            values = 2 * mass * reciprocal(t + g + 1 + total - share, spread - lost)
            if g:
                values += g * reciprocal(t + g + total, spread)
    return values if g else np.where(t == 0, 0.0, values)


def reciprocal(mean: np.ndarray, variance: np.ndarray | float) -> np.ndarray:
    """E[1/X] from X's mean and variance, to the second order."""
    return 1 / mean + variance / (mean * mean * mean)


def number(words: np.ndarray) -> np.ndarray:
    """Sums in units of 2^-32 and 2^-64, int64 [2, ...], as floats."""
    return words[0] / _UNIT + words[1] / (_UNIT * _UNIT)
