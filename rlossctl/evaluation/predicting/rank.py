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

from dataclasses import dataclass

import numpy as np

from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting import moments, pgf, poisson_binomial, screening
from rlossctl.evaluation.predicting.best import kernel

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
    """

    masks: np.ndarray
    sizes: np.ndarray
    pruned: np.ndarray


def check(metric: str, solver: str) -> None:
    """Raises UsageError if the solver does not support the metric."""
    if metric == "iou" and solver in ("trna", "ba"):
        raise UsageError(
            f"the solver {solver} works only for Dice",
            expected="moment2, exact or rma with rankiou",
            advice="leave out --solver",
        )


def choose(
    probabilities: np.ndarray,
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
    flat = probabilities.reshape(classes, -1)
    positions = None if valid is None else np.flatnonzero(valid)
    masks = np.zeros(flat.shape, bool)
    pruned = np.ones(classes, bool)
    for index, plane in enumerate(flat):
        p = plane if positions is None else plane[positions]
        pruned[index] = not (p.size and p.max() > prune)
        if not pruned[index]:
            masks[index, slice(None) if positions is None else positions] = mask(p, metric, solver, smooth)
    return Chosen(masks.reshape(classes, *size), masks.sum(axis=1, dtype=np.int64), pruned)


def mask(p: np.ndarray, metric: str, solver: str = DEFAULT, smooth: float = 0.0) -> np.ndarray:
    """The best mask of one class, bool [d], from its probabilities p [d]; see `choose`."""
    native = kernel()
    if native is None or solver not in ("moment2", "rma") or p.dtype != np.float32:
        return by_sorting(p, metric, solver, smooth)
    p = np.ascontiguousarray(p)
    bins = screening.bin_sums(p, native)
    few = _few(bins.total(), solver)
    found = screening.screen(
        bins, screening.Setting(metric, smooth, solver == "moment2"), few + 1 if few else 0
    )
    low, high = screening.span(found.first, found.last)
    chosen = p >= high
    near = np.flatnonzero((p >= low) & ~chosen)
    near = near[np.argsort(-p[near], kind="stable")]
    first = found.sums + moments.Sums.of_prefixes(p[near])
    values = moments.curve(first, found.whole, metric, smooth, solver == "moment2")
    if few:  # none are above then: `near` starts with the most probable pixel
        values[: few + 1] = _of_few(near[:few], p, metric, smooth)
    chosen[near[: int(values.argmax())]] = True
    return chosen


def by_sorting(p: np.ndarray, metric: str, solver: str = DEFAULT, smooth: float = 0.0) -> np.ndarray:
    """The mask of `mask`, bit for bit, from a sort of all pixels."""
    order = np.argsort(-p, kind="stable")
    chosen = np.zeros(p.size, bool)
    chosen[order[: int(_curve(order, p, metric, solver, smooth).argmax())]] = True
    return chosen


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
    den = t_s + mu - mu_s + g.

    Attributes:
        metric, smooth: as for `choose`.
        sums: mu, mu_s and t_s of each class, float64 [3, C, 1]; pruned classes have zeros.
        pruned: bool [C].
    """

    metric: str
    smooth: float
    sums: np.ndarray
    pruned: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, chosen: Chosen, metric: str, smooth: float) -> Gains:
        """The gains for an image's probabilities [C, H, W]."""
        sums = np.zeros((3, len(probabilities), 1))
        once = chosen.masks.sum(axis=0, dtype=np.uint8) == 1
        for index in np.flatnonzero(~chosen.pruned):
            p, alone = probabilities[index].astype(np.float64), chosen.masks[index] & once
            sums[:, index, 0] = p.sum(), (p * alone).sum(), alone.sum()
        return cls(metric, smooth, sums, chosen.pruned)

    def at(self, probabilities: np.ndarray) -> np.ndarray:
        """The gains of some pixels, from their probabilities [C, n].

        Returns:
            float64 [C, n]; -inf for pruned classes. If all classes are pruned, the probabilities.
        """
        p, smooth = probabilities.astype(np.float64), self.smooth
        if self.pruned.all():
            return p
        mass, own_mass, own_count = self.sums
        if self.metric == "dice":
            den = own_count + mass + 1 + smooth
            gains = 2 * ((own_mass + p + smooth) / (den + 1) - (own_mass + smooth) / den)
        else:
            den = own_count + mass - own_mass + smooth
            with np.errstate(divide="ignore", invalid="ignore"):
                now = np.where(den > 0, (own_mass + smooth) / den, 0.0)
            gains = (own_mass + p + smooth) / (den - p + 1) - now
        gains[self.pruned] = -np.inf
        return gains


def _few(whole: moments.Sums, solver: str) -> int:
    """For how many sizes of the mask two moments are not enough."""
    return min(int(whole.sizes), FEW_PIXELS) if solver == "moment2" and whole.mass <= FEW else 0


def _of_few(places: np.ndarray, p: np.ndarray, metric: str, g: float) -> np.ndarray:
    """The exact expectations of 0..n pixels; the n most probable ones of p are at these places."""
    first, p = p[places].astype(np.float64), p.astype(np.float64)
    return pgf.dice(first, p, g) if metric == "dice" else pgf.iou(first, np.delete(p, places), g)
