"""The focal loss of "Focal Loss for Dense Object Detection" (Lin et al. 2017); gamma 0: cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.losses.labelled import IGNORE, Labelled, error, labelled, not_below, one_of

LOSS = "focal loss"
ACTIVATIONS = ("softmax", "sigmoid")
REDUCTIONS = ("mean", "sum")


class FocalLoss(torch.nn.Module):
    """`focal_loss` with its settings.

    Args:
        gamma: how much easy positions lose, 0 or more.
        alpha: a weight per class, or None.
        activation: "softmax" or "sigmoid".
        ignore_label: the label of positions that do not count, None if all do.
        reduction: "mean" or "sum".
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Sequence[float] | None = None,
        activation: str = "softmax",
        ignore_label: int | None = IGNORE,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        not_below(LOSS, "gamma", gamma, 0)
        self.gamma, self.alpha = gamma, None if alpha is None else tuple(alpha)
        self.activation, self.ignore_label, self.reduction = activation, ignore_label, reduction

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        return focal_loss(
            scores, label, self.gamma, self.alpha, self.activation, self.ignore_label, self.reduction
        )

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}, activation={self.activation!r}"


def focal_loss(
    scores: Tensor,
    label: Tensor,
    gamma: float = 2.0,
    alpha: Sequence[float] | None = None,
    activation: str = "softmax",
    ignore_label: int | None = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, so that positions which are right already count less.

    softmax: -(1 - p)^gamma ln p with p = softmax(scores) of the position's class. sigmoid: the same of every
    class against the rest, with p = sigmoid(score) where it is the position's class and 1 - sigmoid(score)
    elsewhere; with gamma 0 that is binary cross-entropy. alpha multiplies a term after the power: by the
    label's entry (softmax), or by the channel's (sigmoid).

    Args:
        scores: [N, C, H, W] (or [N, C, ...]), before the activation.
        label: [N, H, W] or [N, 1, H, W], class ids of any type; fractions are cut off.
        gamma: 0 or more.
        alpha: C weights, or None.
        activation: "softmax" or "sigmoid".
        ignore_label: the label of positions that do not count, None if all do.
        reduction: "mean" over the positions that count (sigmoid: and classes), not divided by alpha; "sum".

    Returns:
        0 or more, a 0-d float32 tensor (float64 for float64 scores), also under autocast; 0 if nothing
        counts.

    Raises:
        NetError: shapes that do not fit, ids that are neither a class nor ignored, settings out of range.
    """
    not_below(LOSS, "gamma", gamma, 0)
    one_of(LOSS, "activation", activation, ACTIVATIONS)
    one_of(LOSS, "reduction", reduction, REDUCTIONS)
    given = labelled(LOSS, scores, label, ignore_label)
    weights = None if alpha is None else _weights(given, alpha)
    terms = (_softmax_terms if activation == "softmax" else _sigmoid_terms)(given, gamma, weights)  # [N, P]
    total = terms.where(given.valid, 0).sum()
    if reduction == "sum":
        return total
    return total / (given.counted * (1 if activation == "softmax" else given.scores.shape[1]))


def _softmax_terms(given: Labelled, gamma: float, weights: Tensor | None) -> Tensor:
    log_p = F.log_softmax(given.scores, 1).gather(1, given.ids.unsqueeze(1)).squeeze(1)
    terms = _modulated(-torch.expm1(log_p), -log_p, gamma)
    return terms if weights is None else terms * weights[given.ids]


def _sigmoid_terms(given: Labelled, gamma: float, weights: Tensor | None) -> Tensor:
    margin = torch.where(given.one_hot(), given.scores, -given.scores)  # p = sigmoid(margin)
    terms = _modulated(torch.sigmoid(-margin), -F.logsigmoid(margin), gamma)  # [N, C, P]
    return (terms if weights is None else terms * weights[:, None]).sum(1)


def _modulated(wrong: Tensor, entropy: Tensor, gamma: float) -> Tensor:
    """wrong^gamma * entropy; a power below 1 has an infinite slope at 0, which times 0 would be NaN."""
    return entropy if gamma == 0 else wrong.clamp(min=torch.finfo(wrong.dtype).tiny) ** gamma * entropy


def _weights(given: Labelled, alpha: Sequence[float]) -> Tensor:
    classes = given.scores.shape[1]
    if len(alpha) != classes:
        raise error(LOSS, "alpha must be given once per class", found=len(alpha), expected=classes)
    return torch.tensor(list(alpha), dtype=given.scores.dtype, device=given.scores.device)
