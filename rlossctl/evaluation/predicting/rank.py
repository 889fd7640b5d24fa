"""The mask with the greatest expected Dice or IoU, for each class of an image (RankDice, RankIoU).

Pixels are assumed independent given the image, with probabilities p. The best mask is the tau most probable
pixels (Dai and Li, "RankSEG", JMLR 2023), so only tau has to be found. Let p be in descending order, C_t the
sum of the first t, Gamma the number of true pixels (a Poisson-binomial number), Gamma_-j the same without
pixel j, R_t the number of true pixels beyond the first t, and g a smoothing:

    Dice  D(t) = sum_{j<=t} 2 p_j E[1 / (t + g + 1 + Gamma_-j)] + g E[1 / (t + g + Gamma)]
    IoU   I(t) = (C_t + g) E[1 / (t + g + R_t)]

Both are exact. (The published T-RNA code has +2 and +1 where D has +1 and +0.) `curve` evaluates them for
every t with one of SOLVERS:

* moment2, the default: E[1/X] = 1/m + v/m^3 from mean and variance. If few true pixels are expected, two
  moments are not enough, and rlossctl.evaluation.predicting.pgf integrates exactly. Only the pixels near
  the best t are sorted: see rlossctl.evaluation.predicting.screening.
* exact: from the whole distribution, in O(d^2), for up to EXACT_LIMIT pixels.
* trna: the refined normal approximation of each Gamma_-j (Dice); ba: Gamma in place of Gamma_-j (Dice);
  rma: 1 / E[X]. For comparison with published figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting import moments, pgf, poisson_binomial, screening
from rlossctl.evaluation.predicting.best import address, kernel
from rlossctl.evaluation.predicting.planes import Planes, source_of

DEFAULT = "moment2"
SOLVERS = ("moment2", "exact", "trna", "ba", "rma")
EXACT_LIMIT = 4096
# Below this many expected true pixels, two moments can choose a mask that is worse by 1e-4 or more.
FEW = 64.0
# Beyond this many pixels in the mask, two moments are enough again.
FEW_PIXELS = 512


@dataclass(frozen=True)
class Chosen:
    """The masks of one image.

    Attributes:
        masks: bool [C, H, W], which may overlap.
        sizes: int64 [C], the number of pixels in each.
        pruned: bool [C], classes left out because no pixel is probable enough.
        words: int64 [2, 2, C], the sums of p over all pixels and over the mask, as in `moments.Sums`; 0 for
            pruned classes.
    """

    masks: np.ndarray
    sizes: np.ndarray
    pruned: np.ndarray
    words: np.ndarray


@dataclass(frozen=True)
class Taken:
    """The mask of one class.

    Attributes:
        mask: bool [d].
        words: int64 [2, 2], as in `Chosen`.
    """

    mask: np.ndarray
    words: np.ndarray


def check(metric: str, solver: str) -> None:
    """Raises UsageError if the solver does not support the metric."""
    if metric == "iou" and solver in ("trna", "ba"):
        raise UsageError(
            f"the solver {solver} works only for Dice",
            expected="moment2, exact or rma with rankiou",
            advice="leave out --solver",
        )


def choose(
    probabilities: Planes,
    metric: str,
    solver: str = DEFAULT,
    prune: float = 0.5,
    smooth: float = 0.0,
    valid: np.ndarray | None = None,
) -> Chosen:
    """The masks with the greatest expected Dice or IoU, each class on its own.

    Among equal expectations, the smallest mask wins; among equally probable pixels, the first ones.

    Args:
        probabilities: float [C, H, W] in 0..1.
        metric: "dice" or "iou".
        prune: classes whose greatest probability is not above this get an empty mask; 0 keeps all.
        valid: bool [H, W], pixels that count; masks are empty elsewhere.

    Raises:
        UsageError: too many pixels for the exact solver, or the solver does not support the metric.
    """
    check(metric, solver)
    classes, *size = probabilities.shape
    positions = None if valid is None else np.flatnonzero(valid)
    masks = np.zeros((classes, math.prod(size)), bool)
    pruned = np.ones(classes, bool)
    words = np.zeros((2, 2, classes), np.int64)
    for index in range(classes):
        plane = probabilities[index].reshape(-1)
        p = plane if positions is None else plane[positions]
        pruned[index] = not (p.size and p.max() > prune)
        if not pruned[index]:
            taken = best_mask(p, metric, solver, smooth)
            masks[index, slice(None) if positions is None else positions] = taken.mask
            words[:, :, index] = taken.words
    sizes = np.array([np.count_nonzero(mask) for mask in masks], np.int64)
    return Chosen(masks.reshape(classes, *size), sizes, pruned, words)


def best_mask(p: np.ndarray, metric: str, solver: str = DEFAULT, smooth: float = 0.0) -> Taken:
    """The best mask of one class from its probabilities p, float [d]; see `choose`."""
    native = kernel()
    if native is None or solver not in ("moment2", "rma") or p.dtype != np.float32:
        return by_sorting(p, metric, solver, smooth)
    p = np.ascontiguousarray(p)
    setting = screening.Setting(metric, smooth, solver == "moment2")
    for bins in screening.BINS:
        sums = bins.sums(p, native)
        few = _few(sums.total(), solver)
        found = screening.screen(sums, bins, setting, few + 1 if few else 0)
        if found.last > 0:  # else more bins may leave less to be sorted
            break
    low, high = bins.span(found.first, found.last)
    chosen = p >= high
    near = np.flatnonzero((p >= low) & ~chosen)
    near = near[np.argsort(-p[near], kind="stable")]
    first = found.sums + moments.Sums.of_prefixes(p[near])
    values = moments.curve(first, found.whole, metric, smooth, solver == "moment2")
    if few:  # none are above then: `near` starts with the most probable pixel
        values[: few + 1] = _of_few(near[:few], p, metric, smooth)
    count = int(values.argmax())
    chosen[near[:count]] = True
    return _taken(chosen, found.whole, first[count])


def by_sorting(p: np.ndarray, metric: str, solver: str = DEFAULT, smooth: float = 0.0) -> Taken:
    """What `best_mask` finds, bit for bit, from a sort of all pixels."""
    order = np.argsort(-p, kind="stable")
    count = int(_curve(order, p, metric, solver, smooth).argmax())
    chosen = np.zeros(p.size, bool)
    chosen[order[:count]] = True
    first = moments.Sums.of_prefixes(p[order])
    return _taken(chosen, first[-1], first[count])


def _taken(chosen: np.ndarray, whole: moments.Sums, inside: moments.Sums) -> Taken:
    return Taken(chosen, np.stack([whole.words[0], inside.words[0]]))


def curve(p: np.ndarray, metric: str, solver: str = DEFAULT, smooth: float = 0.0) -> np.ndarray:
    """The expected Dice or IoU of the first t pixels, t = 0..d.

    Args:
        p: float [d], in 0..1, in descending order.

    Returns:
        float64 [d + 1].
    """
    return _curve(np.arange(p.size), p, metric, solver, smooth)


def _curve(order: np.ndarray, p: np.ndarray, metric: str, solver: str, smooth: float) -> np.ndarray:
    """`curve` for p in any order, and the places of its values in descending order."""
    if solver == "exact" and p.size > EXACT_LIMIT:
        raise UsageError(
            "the exact solver's time grows with the square of the number of pixels",
            found=f"{p.size} pixels",
            expected=f"at most {EXACT_LIMIT}",
            advice="use --solver moment2",
        )
    ordered = p[order].astype(np.float64)
    if solver == "exact":
        return (
            poisson_binomial.dice(ordered, smooth)
            if metric == "dice"
            else poisson_binomial.iou(ordered, smooth)
        )
    if solver in ("trna", "ba"):
        from rlossctl.evaluation.predicting import normal

        return normal.dice(ordered, smooth, refined=solver == "trna")
    first = moments.Sums.of_prefixes(ordered)
    values = moments.curve(first, first[-1], metric, smooth, solver == "moment2")
    few = _few(first[-1], solver)
    if few:
        values[: few + 1] = _of_few(order[:few], p, metric, smooth)
    return values


@dataclass(frozen=True)
class Gains:
    """How much a pixel would add to each class's expected Dice or IoU (mean approximation).

    Let mu be the class's expected number of pixels, and t_s and mu_s the actual and the expected number of
    pixels that only its mask has. Dice gains 2 [(mu_s + p + g) / (den + 1) - (mu_s + g) / den] with
    den = t_s + mu + 1 + g; IoU gains (mu_s + p + g) / (den - p + 1) - (mu_s + g) / den with
    den = t_s + mu - mu_s + g. All sums are exact, so that no order of pixels changes a gain.

    Attributes:
        terms: mu_s, what p + mu_s + g is divided by (IoU: den) and what is subtracted, float64 [3, C, 1];
            infinity is subtracted from pruned classes.
        smooth: g.
        iou: whether it is IoU's gain.
    """

    terms: np.ndarray
    smooth: float = 0.0
    iou: bool = False

    @classmethod
    def of(cls, probabilities: Planes, chosen: Chosen, metric: str, smooth: float) -> Gains:
        """The gains for an image's probabilities [C, H, W]; `by_probability` if all classes are pruned."""
        if chosen.pruned.all():
            return cls.by_probability(len(chosen.pruned))
        shared = shared_sums(probabilities, chosen.masks)
        mass, own = moments.number(np.stack([chosen.words[0], chosen.words[1] - shared[1:]], axis=1))
        count = (chosen.sizes - shared[0]).astype(np.float64)
        den = count + mass - own + smooth if metric == "iou" else count + mass + 1 + smooth
        with np.errstate(divide="ignore", invalid="ignore"):
            now = np.where(den > 0, (own + smooth) / den, 0.0)
        terms = np.stack([own, den if metric == "iou" else den + 1, np.where(chosen.pruned, np.inf, now)])
        return cls(terms[:, :, None], smooth, metric == "iou")

    @classmethod
    def by_probability(cls, classes: int) -> Gains:
        """Gains in the order of the probabilities: twice them."""
        return cls(np.array([0.0, 1.0, 0.0])[:, None, None].repeat(classes, axis=1))

    def at(self, probabilities: np.ndarray) -> np.ndarray:
        """The gains of some pixels, from their probabilities [C, n].

        Returns:
            float64 [C, n]; -inf for pruned classes.
        """
        p = probabilities.astype(np.float64)
        own, base, now = self.terms
        if self.iou:
            return (own + p + self.smooth) / (base - p + 1) - now
        return 2 * ((own + p + self.smooth) / base - now)


def shared_sums(probabilities: Planes, masks: np.ndarray) -> np.ndarray:
    """For each class the number of pixels that its mask shares with another one, and their sum of p.

    Args:
        masks: bool [C, H, W].

    Returns:
        int64 [3, C]: the number, and the sum in units of 2^-32 and 2^-64, as in `moments.Sums`.
    """
    source = source_of(probabilities)
    sums = np.zeros((len(masks), 3), np.int64)
    if source is not None:
        masks = np.ascontiguousarray(masks)
        source.handle.shared(address(masks), address(sums), source.threads)
        return sums.T
    several = masks.sum(axis=0, dtype=np.uint8) > 1
    for index, mask in enumerate(masks):
        own = moments.Sums.of_prefixes(probabilities[index][mask & several])[-1]
        sums[index] = own.sizes, *own.words[0]
    return sums.T


def _few(whole: moments.Sums, solver: str) -> int:
    """For how many sizes of the mask two moments are not enough."""
    return min(int(whole.sizes), FEW_PIXELS) if solver == "moment2" and whole.mass <= FEW else 0


def _of_few(places: np.ndarray, p: np.ndarray, metric: str, g: float) -> np.ndarray:
    """The exact expectations of 0..n pixels; the n most probable ones of p are at these places."""
    first, p = p[places].astype(np.float64), p.astype(np.float64)
    return pgf.dice(first, p, g) if metric == "dice" else pgf.iou(first, np.delete(p, places), g)
