"""Which pixels of a class must be sorted to find its best mask: all others are surely in it, or out of it.

A full sort gives the expectation of every size t, of which the greatest (the first of them) counts. Here
pixels are only put into bins of p, 64 to each factor of 2, with exact sums for each
(rlossctl.evaluation.predicting.moments). They give the expectation at the sizes between two bins, with the
very bits of a full sort. For a bin of pixels a < t <= b between p = low and p = high, all expectations
inside have an upper bound:

* The first t pixels have at most S = C_a + (t - a) high of the mass C.
* Dice: D(t) = 2 C_t (1/m + v/m^3) with m = t + g + 1 + C_d - share and a share that does not grow with t,
  so m is at least M + (t - a), where M has the share of a; and v is at most the variance of all pixels. So
  D(t) <= 2 S / (M + t - a) + 2 S_b v / M^3. The first term is a quotient of linear functions of t, so that
  it is monotone, and its greatest value is at one end of the bin.
* IoU: I(t) = (C_t + g) (1/m + v/m^3) with m = t + g + C_d - C_t, at least M + (t - a)(1 - high), where M is
  m at a; and v is at most the variance of the pixels beyond a. The bound is the same quotient, with the
  same argument.
* Smoothing adds g (1/m + v/m^3) to D; it falls with t, so that its value at a is its bound.

A bin whose bound is below an expectation that is reached between two bins cannot have the greatest one. The
bounds have 1e-9 to spare, far more than rounding. The bins that remain are next to each other in practice;
all pixels from the first to the last of them are sorted. Pixels above are in the mask, those below are not.
With p above 1/2 a pixel always improves D and I, and near the best t both are so flat that two or three
bins remain.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from rlossctl.evaluation.predicting.moments import Sums, curve

_STEPS = 64  # bins for each factor of 2
_SHIFT = 23 - _STEPS.bit_length() + 1
_ROUNDING = 1e-5  # how much rounding may add to a probability; see rules.SLACK
_SPARE = 1 + 1e-9


@dataclass(frozen=True)
class Setting:
    """What is maximised: "dice" or "iou" with smoothing `g`, by two moments or (`second` false) by one."""

    metric: str
    g: float
    second: bool


@dataclass(frozen=True)
class Screened:
    """What the bins say about a class.

    Attributes:
        above: int64, how many pixels are in the mask for sure.
        first, last: the bins of the pixels that must be sorted, from the most probable one to the least.
        sums: of the pixels above.
        whole: of all pixels.
    """

    above: int
    first: int
    last: int
    sums: Sums
    whole: Sums


@dataclass(frozen=True)
class Bins:
    """Bins of p.

    Attributes:
        lowest: all below 2^lowest are in bin 0; the last bin has those from 1 on.
    """

    lowest: int

    @property
    def count(self) -> int:
        """How many there are."""
        return -self.lowest * _STEPS + 1

    @property
    def _first(self) -> int:
        """The bits of p in bin 0, without those that do not count, if bin 0 were as narrow as the others."""
        return (127 + self.lowest) * _STEPS

    @functools.cached_property
    def edges(self) -> np.ndarray:
        """The upper ends of the bins; the last one for values that rounding has moved beyond 1."""
        bits = (np.arange(1, self.count + 1, dtype=np.int32) + self._first) << _SHIFT
        edges = bits.view(np.float32).astype(np.float64)
        edges[-1] = 1 + _ROUNDING
        return edges

    def sums(self, p: np.ndarray, native: ModuleType) -> Sums:
        """The sums of each bin of p, float32 [d]."""
        counts, sums = np.empty(self.count, np.int64), np.empty((self.count, 3, 2), np.int64)
        native.probability_bins(
            p.ctypes.data, p.size, _SHIFT, self._first, self.count, counts.ctypes.data, sums.ctypes.data
        )
        return Sums(counts, sums.transpose(1, 2, 0))

    def span(self, first: int, last: int) -> tuple[np.float32, np.float32]:
        """The bins `first` down to `last`: p at least the first value and below the second."""
        low = np.float32(-np.inf if last == 0 else self.edges[last - 1])
        return low, np.float32(np.inf if first == self.count - 1 else self.edges[first])


# The first ones are enough for nearly every class, and leave most pixels of most classes in bin 0, which
# costs next to nothing. Where bin 0 cannot be left out, the others are tried.
BINS = (Bins(-5), Bins(-31))


def screen(sums: Sums, bins: Bins, setting: Setting, least: int) -> Screened:
    """The bins that may hold the greatest expectation.

    Args:
        sums: of each of the class's bins; not all empty.
        least: sizes below this get other expectations than the moments', so that their bins remain.
    """
    used = np.flatnonzero(sums.sizes)[::-1]  # in the order of a sort
    until = sums[used].until()
    whole = until[-1]
    reached = curve(until, whole, setting.metric, setting.g, setting.second)
    sizes = until.sizes
    known = reached[sizes >= least]
    best = known.max() if known.size else -np.inf
    kept = _bounds(until, bins.edges[used], setting) * _SPARE >= best
    kept |= sizes[:-1] < least
    # An end of a bin is its last size; the first one, nothing at all, has no bin.
    kept[0] |= least == 0 and reached[0] >= best
    first, last = np.flatnonzero(kept)[[0, -1]]
    return Screened(int(sizes[first]), int(used[first]), int(used[last]), until[first], whole)


def _bounds(until: Sums, high: np.ndarray, setting: Setting) -> np.ndarray:
    """The upper bound of each bin: `until` has the sums at its ends, `high` its greatest p."""
    start, g, whole = until[:-1], setting.g, until[-1]
    count, mass, total = np.diff(until.sizes), start.mass, whole.mass
    room = _ROUNDING * (whole.sizes + 1)  # of variances, if values are beyond 1
    if setting.metric == "iou":
        least = start.sizes + g + total - mass
        left = whole.variance - start.variance + room
        slope, gain, smooth = 1 - high, 1.0, g
    else:
        share = np.where(start.sizes > 0, start.squares / np.maximum(mass, np.finfo(float).tiny), high)
        least = start.sizes + g + 1 + total - (share if setting.second else 0.0)
        left, slope, gain, smooth = whole.variance + room, np.ones_like(high), 2.0, 0.0
    if not setting.second:
        left = left * 0
    ends = mass + smooth, mass + smooth + count * high
    means = least, least + count * slope
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.maximum(*(end / mean for end, mean in zip(ends, means, strict=True)))
        bound = gain * (first + ends[1] * left / np.minimum(*means) ** 3)
        if setting.metric == "dice" and g:
            mean = start.sizes + g + total
            bound += g * (1 / mean + left / mean**3)
    return np.where(np.minimum(*means) > 0, bound, np.inf)
