"""Entropy minimisation (Grandvalet and Bengio 2004): predictions of pixels without a label become sure."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.losses.labelled import IGNORE, above_zero, error, planar, planes

LOSS = "entropy loss"
FAINTEST = 17  # exp(-17) is below float32's rounding of 1


class EntropyLoss(torch.nn.Module):
    """`entropy_loss` of the pixels without a label, or of those that a mask names.

    Args:
        distance: None, or how fast pixels count less away from the strokes, in pixels: exp(-d / distance).
        ignore_label: of the pixels without a label.
    """

    def __init__(self, distance: float | None = None, ignore_label: int = IGNORE) -> None:
        super().__init__()
        if distance is not None:
            above_zero(LOSS, "distance", distance)
        self.distance, self.ignore_label = distance, ignore_label

    def forward(self, prob: Tensor, label: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of `prob` [N, C, H, W] over pixels of `label` [N, H, W] that are ignore_label.

        Args:
            mask: [N, H, W] or [N, 1, H, W], 0 for pixels that do not count, such as padding.
        """
        weights = unlabelled_weights(prob, label, self.distance, self.ignore_label)
        return entropy_loss(prob, weights * planes(LOSS, mask, planar(LOSS, prob)))

    def extra_repr(self) -> str:
        return f"distance={self.distance}, ignore_label={self.ignore_label}"


def entropy_loss(prob: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of -sum_c p_c ln p_c over the pixels of a mask: sum of mask * entropy / sum of mask.

    Args:
        prob: [N, C, H, W], softmax of the scores.
        mask: [N, H, W] or [N, 1, H, W], 0..1: how much a pixel counts; no gradient. None: all count.

    Returns:
        0..ln C, a 0-d float32 tensor (float64 for float64 prob), also under autocast; 0 for an empty mask.

    Raises:
        NetError: shapes that do not fit.
    """
    prob = planar(LOSS, prob)
    weights = planes(LOSS, mask, prob)
    tiny = torch.finfo(prob.dtype).tiny
    # At p = 0 the slope of p ln p is infinite; the floor inside the logarithm keeps it at ln(tiny).
    entropy = -(prob * prob.clamp(min=tiny).log()).sum(1, keepdim=True)
    return (entropy * weights).sum() / weights.sum().clamp(min=tiny)


def unlabelled_weights(
    prob: Tensor, label: Tensor, distance: float | None = None, ignore_label: int = IGNORE
) -> Tensor:
    """1 at the pixels without a label, or exp(-d / distance), d the distance to the nearest labelled pixel.

    Args:
        prob: [N, C, H, W], for the shape and type.
        label: [N, H, W] or [N, 1, H, W], ignore_label for pixels without a label.
        distance: in pixels, above 0. None: all pixels without a label count alike. An image without any label
            then counts in full, with a distance not at all.

    Returns:
        [N, 1, H, W] in prob's float type; 0 at labelled pixels.
    """
    values = planar(LOSS, prob)
    if label.numel() != values[:, :1].numel() or label.shape[:1] != values.shape[:1]:
        raise error(
            LOSS,
            "needs one label per pixel",
            found=f"probabilities {tuple(prob.shape)}, labels {tuple(label.shape)}",
            expected=f"labels {(len(prob), *prob.shape[2:])}, with or without a channel axis of 1",
            advice="bring probabilities and labels to one size (Interp)",
        )
    label = label.detach().to(values.device).reshape(len(values), *values.shape[2:]).long()
    free = (label == ignore_label).to(values.dtype)
    if distance is not None:
        above_zero(LOSS, "distance", distance)
        reach = math.ceil(FAINTEST * distance)
        free = free * (stroke_distance(label != ignore_label, reach).to(free.dtype) / -distance).exp()
    return free.unsqueeze(1)


def stroke_distance(labelled: Tensor, reach: int) -> Tensor:
    """Euclidean distance in pixels to the nearest True in [N, H, W]; infinite if there is none.

    Distances above `reach` may come out larger than they are. First along each column, then the smallest
    squared sum along the rows.
    """
    column = torch.minimum(_since(labelled), _since(labelled.flip(1)).flip(1)).square()  # [N, H, W]
    nearest = column.clone()
    for step in range(1, min(reach, column.shape[2] - 1) + 1):
        moved = column + step**2
        nearest[..., step:] = torch.minimum(nearest[..., step:], moved[..., :-step])
        nearest[..., :-step] = torch.minimum(nearest[..., :-step], moved[..., step:])
    return nearest.sqrt()


def _since(labelled: Tensor) -> Tensor:
    """Rows since the last True above in the same column of [N, H, W]; infinite before the first."""
    rows = torch.arange(labelled.shape[1], device=labelled.device, dtype=torch.float32)[:, None]
    last = rows.expand(labelled.shape).where(labelled, -torch.inf).cummax(1).values
    return rows - last
