"""Size constraints (Kervadec et al. 2019, "Constrained-CNN losses for weakly supervised segmentation").

The log-barrier extension is that of Kervadec et al., "Constrained deep networks: Lagrangian optimization via
log-barrier extensions" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlossctl.losses.labelled import IGNORE, error, labelled, not_below, one_of, planar, planes

LOSS = "size loss"
UNITS = ("fraction", "pixels")
SOURCES = ("constant", "tag", "precise", "precise_upper", "box")
NORMALIZATIONS = ("area", "area2")
BARRIERS = ("quadratic", "log")


@dataclass(frozen=True)
class SizeBounds:
    """Where each class's smallest and largest size come from.

    constant: low and high as they are. tag: the same for a class that an image has, 0 for one that it lacks.
    precise: the size in the label, -/+ margin, at least 0. precise_upper: at most that, and at least one
    pixel of a class that the image has. box: low and high times the size in a label of filled boxes.

    Attributes:
        classes: the constrained classes.
        low: per class, not used by the precise sources; empty for 0.
        high: per class, not used by the precise sources; empty, or infinite, for no upper limit.
        source: see above.
        unit: of low, high and margin: "fraction" (of the pixels that count; a margin: of the size), "pixels".
        margin: of the precise sources.
    """

    classes: Sequence[int]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    source: str = "constant"
    unit: str = "fraction"
    margin: float = 0.1

    def __post_init__(self) -> None:
        one_of(LOSS, "source of bounds", self.source, SOURCES)
        one_of(LOSS, "unit", self.unit, UNITS)
        not_below(LOSS, "margin", self.margin, 0)
        if not self.classes:
            raise error(LOSS, "constrains no class", found="no bound", expected="a bound for each class")
        lows, highs = self.limits()
        if len(lows) != len(self.classes) or len(highs) != len(self.classes):
            found = f"{len(self.classes)} classes, {len(lows)} low, {len(highs)} high"
            raise error(LOSS, "needs low and high once per class", found=found, expected="equal numbers")
        for low, high in zip(lows, highs, strict=True):
            if not 0 <= low <= high:
                raise error(
                    LOSS,
                    "bounds out of order",
                    found=f"low {low:g}, high {high:g}",
                    expected="0 <= low <= high",
                )

    def limits(self) -> tuple[Sequence[float], Sequence[float]]:
        """low and high, one for each class."""
        count = len(self.classes)
        return self.low or [0.0] * count, self.high or [math.inf] * count

    @property
    def precise(self) -> bool:
        """Whether the sizes come from the label, so that its ignored pixels cannot count."""
        return self.source in ("precise", "precise_upper")

    def of(
        self, prob: Tensor, label: Tensor | None, mask: Tensor, ignore_label: int | None
    ) -> tuple[Tensor, Tensor]:
        """The smallest and largest sizes in pixels, each [N, K] for K constrained classes.

        Args:
            prob: [N, C, H, W].
            label: [N, H, W] or [N, 1, H, W]; for "tag" also tags [N, C] or [N, C, 1, 1], above 0 where an
                image has the class; None for "constant".
            mask: [N, 1, H, W].
        """
        low, high = (prob.new_tensor(list(limits)).expand(len(prob), -1) for limits in self.limits())
        if self.source in ("constant", "tag") and self.unit == "fraction":
            area = mask.sum((1, 2, 3)).unsqueeze(1)  # with an empty mask, 0 * inf would be NaN
            low, high = low * area, torch.where(high.isinf(), high, high * area)
        if self.source == "constant":
            return low, high
        sizes = self._sizes(prob, label, mask, ignore_label)  # [N, K]
        if self.source == "tag":
            return low.where(sizes > 0, 0), high.where(sizes > 0, 0)
        if self.source == "box":
            return low * sizes, torch.where(high.isinf(), high, high * sizes)
        margin = self.margin * sizes if self.unit == "fraction" else torch.full_like(sizes, self.margin)
        least = (sizes - margin).clamp(min=0) if self.source == "precise" else (sizes > 0).to(sizes.dtype)
        return least, sizes + margin

    def _sizes(self, prob: Tensor, label: Tensor | None, mask: Tensor, ignore_label: int | None) -> Tensor:
        """Pixels of each constrained class in the label, or the tags, [N, K]."""
        if label is None:
            raise error(
                LOSS, f"the source {self.source} needs labels", found="none", expected="a label image"
            )
        chosen = list(self.classes)
        if (
            self.source == "tag"
            and label.dim() != 3
            and label.shape[1] == label.shape[1:].numel() == prob.shape[1]
        ):
            return label.detach().to(prob).flatten(1)[:, chosen]
        own = labelled(LOSS, prob, label, ignore_label).one_hot()[:, chosen]  # [N, K, P]
        return (own * mask.flatten(2)).sum(2)


class SizeLoss(torch.nn.Module):
    """`size_loss` with bounds that come from constants, tags, labels or boxes.

    Args:
        bounds: see SizeBounds.
        normalize: "area" or "area2".
        barrier: "quadratic" or "log".
        log_t: the log barrier's sharpness.
        ignore_label: in labels, the value that stands for no class, None if there is none.
    """

    def __init__(
        self,
        bounds: SizeBounds,
        normalize: str = "area",
        barrier: str = "quadratic",
        log_t: float = 5.0,
        ignore_label: int | None = IGNORE,
    ) -> None:
        super().__init__()
        one_of(LOSS, "normalization", normalize, NORMALIZATIONS)
        one_of(LOSS, "barrier", barrier, BARRIERS)
        not_below(LOSS, "log_t", log_t, 1)
        self.bounds, self.ignore_label = bounds, ignore_label
        self.normalize, self.barrier, self.log_t = normalize, barrier, log_t

    def forward(self, prob: Tensor, label: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The loss of `prob` [N, C, H, W].

        Args:
            label: what the bounds' source takes; see SizeBounds.of.
            mask: [N, H, W] or [N, 1, H, W], 0 for pixels that do not count.
        """
        prob = planar(LOSS, prob)
        _check_classes(self.bounds.classes, prob)
        counted = planes(LOSS, mask, prob)
        if self.bounds.precise and label is not None and self.ignore_label is not None:
            known = labelled(LOSS, prob, label, self.ignore_label).valid
            counted = counted * known.view_as(counted)
        low, high = self.bounds.of(prob, label, counted, self.ignore_label)
        return size_loss(
            prob, self.bounds.classes, low, high, counted, self.normalize, self.barrier, self.log_t
        )

    def extra_repr(self) -> str:
        return f"{self.bounds}, normalize={self.normalize!r}, barrier={self.barrier!r}"


def size_loss(
    prob: Tensor,
    classes: Sequence[int],
    low: Tensor,
    high: Tensor,
    mask: Tensor | None = None,
    normalize: str = "area",
    barrier: str = "quadratic",
    log_t: float = 5.0,
) -> Tensor:
    """How far the soft sizes V = sum over pixels of mask * prob are outside [low, high].

    quadratic: (V - high)^2 above, (low - V)^2 below, 0 inside; divided by the area A = sum of the mask
    ("area"), or by its square ("area2"), which makes it the square of a fraction and independent of the
    resolution. log: psi((V - high) / A) + psi((low - V) / A), with psi(z) = -ln(-z) / t for z <= -1/t^2 and
    its tangent beyond; bounds that every size meets (low 0, high A) are left out. Either way the mean over
    the classes and over the images with pixels that count.

    Args:
        prob: [N, C, H, W], softmax of the scores.
        classes: the K constrained classes.
        low, high: [N, K] in pixels, or what broadcasts to that; `high` may be infinite. No gradient.
        mask: [N, H, W] or [N, 1, H, W], 1 for pixels that count; no gradient. None: all count.
        normalize: "area" or "area2", of the quadratic barrier.
        barrier: "quadratic" or "log".
        log_t: t above, 1 or more; the larger, the steeper. Raise it during training for a harder constraint.

    Returns:
        0 or more, a 0-d float32 tensor (float64 for float64 prob), also under autocast; 0 for an empty mask.

    Raises:
        NetError: shapes that do not fit, a class that does not exist, settings out of range.
    """
    one_of(LOSS, "normalization", normalize, NORMALIZATIONS)
    one_of(LOSS, "barrier", barrier, BARRIERS)
    not_below(LOSS, "log_t", log_t, 1)
    prob = planar(LOSS, prob)
    _check_classes(classes, prob)
    weights = planes(LOSS, mask, prob)
    sizes = (prob[:, list(classes)] * weights).sum((2, 3))  # [N, K]
    area = weights.sum((1, 2, 3)).unsqueeze(1)  # [N, 1]
    divisor = area.clamp(min=torch.finfo(area.dtype).tiny)
    low, high = low.detach().to(sizes), high.detach().to(sizes)
    if barrier == "log":
        terms = _barrier(sizes, low, high, divisor, log_t)
    else:
        terms = ((sizes - high).clamp(min=0).square() + (low - sizes).clamp(min=0).square()) / divisor
        terms = terms / divisor if normalize == "area2" else terms
    seen = area > 0
    return terms.where(seen, 0).sum() / (seen.sum().clamp(min=1) * sizes.shape[1])


def _barrier(sizes: Tensor, low: Tensor, high: Tensor, area: Tensor, t: float) -> Tensor:
    above, below = high < area, low > 0  # the bounds that can be broken
    over = _psi((sizes - high.where(above, 0)) / area, t)  # no infinity goes in
    return over.where(above, 0) + _psi((low - sizes) / area, t).where(below, 0)


def _psi(z: Tensor, t: float) -> Tensor:
    edge = -1 / t**2
    inside = -torch.log(-z.clamp(max=edge)) / t
    return torch.where(z <= edge, inside, t * z - math.log(1 / t**2) / t + 1 / t)


def _check_classes(classes: Sequence[int], prob: Tensor) -> None:
    if not classes or not all(0 <= one < prob.shape[1] for one in classes):
        raise error(
            LOSS,
            "constrains a class that does not exist",
            found=", ".join(map(str, classes)) or "no class",
            expected=f"0 to {prob.shape[1] - 1}",
        )
