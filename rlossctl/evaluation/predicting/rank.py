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
  moments are not enough, and rlossctl.evaluation.predicting.pgf integrates exactly. One pass over sorted p.
* exact: from the whole distribution, in O(d^2), for up to EXACT_LIMIT pixels.
* trna: the refined normal approximation of each Gamma_-j (Dice); ba: Gamma in place of Gamma_-j (Dice);
  rma: 1 / E[X]. For comparison with published figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting import pgf, poisson_binomial

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
    positions = np.arange(flat.shape[1]) if valid is None else np.flatnonzero(valid)
    masks = np.zeros(flat.shape, bool)
    sizes = np.zeros(classes, np.int64)
    pruned = np.ones(classes, bool)
    if positions.size:
        flat = flat[:, positions]
        pruned = flat.max(axis=1) <= prune
    for index in np.flatnonzero(~pruned):
        order = np.argsort(-flat[index], kind="stable")
        tau = int(curve(flat[index][order], metric, solver, smooth).argmax())
        masks[index, positions[order[:tau]]] = True
        sizes[index] = tau
    return Chosen(masks.reshape(classes, *size), sizes, pruned)


def curve(p: np.ndarray, metric: str, solver: str = DEFAULT, smooth: float = 0.0) -> np.ndarray:
    """The expected Dice or IoU of the first t pixels, t = 0..d.

    Args:
        p: float [d], in 0..1, in descending order.

    Returns:
        float64 [d + 1].
    """
    p = np.asarray(p, np.float64)
    if solver == "exact" and p.size > EXACT_LIMIT:
        raise UsageError(
            "the exact solver's time grows with the square of the number of pixels",
            found=f"{p.size} pixels",
            expected=f"at most {EXACT_LIMIT}",
            advice="use --solver moment2",
        )
    if solver == "exact":
        return poisson_binomial.dice(p, smooth) if metric == "dice" else poisson_binomial.iou(p, smooth)
    if solver in ("trna", "ba"):
        from rlossctl.evaluation.predicting import normal

        return normal.dice(p, smooth, refined=solver == "trna")
    values = _moments(p, metric, smooth, second=solver == "moment2")
    if solver == "moment2" and p.sum() <= FEW:
        few = pgf.dice if metric == "dice" else pgf.iou
        first = few(p, smooth, min(p.size, FEW_PIXELS))
        values[: first.size] = first
    return values


def marginal_gains(probabilities: np.ndarray, chosen: Chosen, metric: str, smooth: float) -> np.ndarray:
    """How much each pixel would add to a class's expected Dice or IoU (mean approximation).

    Let mu be the class's expected number of pixels, and t_s and mu_s the actual and the expected number of
    pixels that only its mask has. Dice gains 2 [(mu_s + p + g) / (den + 1) - (mu_s + g) / den] with
    den = t_s + mu + 1 + g; IoU gains (mu_s + p + g) / (den - p + 1) - (mu_s + g) / den with
    den = t_s + mu - mu_s + g.

    Returns:
        float64 [C, H, W]; -inf for pruned classes. If all classes are pruned, the probabilities.
    """
    if chosen.pruned.all():
        return probabilities.astype(np.float64)
    p = probabilities.astype(np.float64)
    alone = chosen.masks & (chosen.masks.sum(axis=0, dtype=np.uint8) == 1)
    axes, shape = (1, 2), (-1, 1, 1)
    mass = p.sum(axis=axes).reshape(shape)
    own_mass = (p * alone).sum(axis=axes).reshape(shape)
    own_count = alone.sum(axis=axes).reshape(shape)
    if metric == "dice":
        den = own_count + mass + 1 + smooth
        gains = 2 * ((own_mass + p + smooth) / (den + 1) - (own_mass + smooth) / den)
    else:
        den = own_count + mass - own_mass + smooth
        with np.errstate(divide="ignore", invalid="ignore"):
            now = np.where(den > 0, (own_mass + smooth) / den, 0.0)
        gains = (own_mass + p + smooth) / (den - p + 1) - now
    gains[chosen.pruned] = -np.inf
    return gains


def _moments(p: np.ndarray, metric: str, g: float, second: bool) -> np.ndarray:
    """The curve with E[1/X] = 1/m + v/m^3 (or 1/m alone: RMA)."""
    t = np.arange(1, p.size + 1)
    mass, mean, variances = np.cumsum(p), p.sum(), p * (1 - p)
    values = np.zeros(p.size + 1)
    if metric == "iou":
        m, v = t + g + mean - mass, variances.sum() - np.cumsum(variances)
        values[1:] = (mass + g) * _reciprocal(m, v if second else 0.0)
        values[0] = g * _reciprocal(g + mean, variances.sum() if second else 0.0) if g else 0.0
        return values
    total = variances.sum()
    # The mean of Gamma_-j over j <= t, weighted by p_j; RMA does not leave out a pixel.
    share = np.cumsum(p * p) / np.maximum(mass, np.finfo(float).tiny)
    lost = np.cumsum(p * variances) / np.maximum(mass, np.finfo(float).tiny)
    m = t + g + 1 + mean - (share if second else 0.0)
    values[1:] = 2 * mass * _reciprocal(m, total - lost if second else 0.0)
    if g:
        values[1:] += g * _reciprocal(t + g + mean, total if second else 0.0)
        values[0] = g * _reciprocal(g + mean, total if second else 0.0)
    return values


def _reciprocal(mean: np.ndarray | float, variance: np.ndarray | float) -> np.ndarray | float:
    return 1 / mean + variance / mean**3
