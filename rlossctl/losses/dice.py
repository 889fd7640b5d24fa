"""The soft Dice loss (Milletari et al. 2016) of softmax or sigmoid scores, and its log-cosh (Jadon 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.losses.labelled import IGNORE, labelled, not_below, one_of

LOSS = "Dice loss"
ACTIVATIONS = ("softmax", "sigmoid")
AXES = {"batch": (0, 1, 2), "image": (1, 2), "class": (0, 2)}  # of [N, C, P] that are summed


class DiceLoss(torch.nn.Module):
    """`dice_loss` with its settings.

    Args:
        smooth: added to numerator and denominator, 0 or more.
        activation: "softmax" or "sigmoid".
        reduction: "batch", "image" or "class".
        log_cosh: use ln cosh of the loss instead.
        ignore_label: the label of positions that do not count, None if all do.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        activation: str = "softmax",
        reduction: str = "batch",
        log_cosh: bool = False,
        ignore_label: int | None = IGNORE,
    ) -> None:
        super().__init__()
        not_below(LOSS, "smooth", smooth, 0)
        self.smooth, self.activation, self.reduction = smooth, activation, reduction
        self.log_cosh, self.ignore_label = log_cosh, ignore_label

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        return dice_loss(
            scores, label, self.smooth, self.activation, self.reduction, self.log_cosh, self.ignore_label
        )

    def extra_repr(self) -> str:
        return f"smooth={self.smooth}, activation={self.activation!r}, reduction={self.reduction!r}"


def dice_loss(
    scores: Tensor,
    label: Tensor,
    smooth: float = 1.0,
    activation: str = "softmax",
    reduction: str = "batch",
    log_cosh: bool = False,
    ignore_label: int | None = IGNORE,
) -> Tensor:
    """1 - (2 <P, Y> + smooth) / (sum P + sum Y + smooth), with P = activation(scores), Y the one-hot labels.

    Sums run over the positions that count. batch: one fraction of the whole batch and all classes. image: the
    mean of one fraction per image that has a position that counts. class: the mean of one per class; an
    absent class pushes its scores down, and gives nearly 1 with a small `smooth`.

    Args:
        scores: [N, C, H, W] (or [N, C, ...]), before the activation.
        label: [N, H, W] or [N, 1, H, W], class ids of any type; fractions are cut off.
        smooth: 0 or more, in positions.
        activation: "softmax" or "sigmoid".
        reduction: "batch", "image" or "class".
        log_cosh: ln cosh of the loss, flatter near 0.
        ignore_label: the label of positions that do not count, None if all do.

    Returns:
        0..1 (log_cosh: to 0.434), a 0-d float32 tensor (float64 for float64 scores), also under
        autocast; 0 if nothing counts.

    Raises:
        NetError: shapes that do not fit, ids that are neither a class nor ignored, settings out of range.
    """
    not_below(LOSS, "smooth", smooth, 0)
    one_of(LOSS, "activation", activation, ACTIVATIONS)
    one_of(LOSS, "reduction", reduction, tuple(AXES))
    given = labelled(LOSS, scores, label, ignore_label)
    p = given.scores.softmax(1) if activation == "softmax" else given.scores.sigmoid()
    p = p.where(given.valid.unsqueeze(1), 0)
    loss = _one_minus_dice(p, given.one_hot().to(p.dtype), AXES[reduction], smooth)
    if reduction == "image":
        loss = loss.sum() / given.valid.any(1).sum().clamp(min=1)
    return loss.mean().cosh().log() if log_cosh else loss.mean()


def _one_minus_dice(p: Tensor, target: Tensor, axes: tuple[int, ...], smooth: float) -> Tensor:
    """The fraction over one denominator: nothing cancels, and 0 / 0 is 0 where nothing counts."""
    total = p.sum(axes) + target.sum(axes)
    overlap = (p * target).sum(axes)
    return (total - 2 * overlap) / (total + smooth).clamp(min=torch.finfo(p.dtype).tiny)
