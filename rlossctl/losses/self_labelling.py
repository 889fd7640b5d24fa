"""Soft self-labelling (Zhang and Boykov): soft labels of unlabelled pixels, and the loss that trusts them.

The labels and the net take turns: the labels minimise an energy while the net is fixed, then the net learns
from them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.losses.labelled import IGNORE, error, labelled, not_below, photo, planar, planes
from rlossctl.losses.potts import NEIGHBOURS, SMALLEST, ends, minus_log, product

LOSS = "soft self-labelling"
FIRST_STEP, FASTER, SLOWER = 0.5, 2.0, 0.25


class SoftPseudoLabel(torch.nn.Module):
    """`soft_pseudo_label` with its settings.

    Args:
        eta: weight of the agreement with the prediction.
        smoothness: weight of the Potts model.
        image_std: in the image's units; 0 for no contrast weight.
        iterations: of the solver.
        ignore_label: of the pixels without a label.
    """

    def __init__(
        self,
        eta: float = 0.3,
        smoothness: float = 6.0,
        image_std: float = 0.0,
        iterations: int = 30,
        ignore_label: int = IGNORE,
    ) -> None:
        super().__init__()
        self.settings = eta, smoothness, image_std, iterations, ignore_label
        check(eta, smoothness, image_std, iterations)

    def forward(
        self, image: Tensor | None, prob: Tensor, label: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return soft_pseudo_label(image, prob, label, mask, *self.settings)

    def extra_repr(self) -> str:
        names = ("eta", "smoothness", "image_std", "iterations", "ignore_label")
        return ", ".join(f"{name}={value}" for name, value in zip(names, self.settings, strict=True))


class CollisionCrossEntropyLoss(torch.nn.Module):
    """`collision_cross_entropy_loss` as a module."""

    def forward(self, prob: Tensor, soft: Tensor, mask: Tensor | None = None) -> Tensor:
        return collision_cross_entropy_loss(prob, soft, mask)


@torch.no_grad()
def soft_pseudo_label(
    image: Tensor | None,
    prob: Tensor,
    label: Tensor,
    mask: Tensor | None = None,
    eta: float = 0.3,
    smoothness: float = 6.0,
    image_std: float = 0.0,
    iterations: int = 30,
    ignore_label: int = IGNORE,
) -> Tensor:
    """Soft labels y [N, C, H, W] that fit prediction, labels and image; without gradient.

    y is one-hot at labelled pixels. At the others it starts as the prediction and goes down the energy

        eta sum_i -ln <P_i, y_i> + smoothness sum_ij w_ij -ln cos(y_i, y_j)

    over 4 neighbours, w_ij = exp(-|I_i - I_j|^2 / (2 image_std^2)), or 1. Each iteration multiplies y by
    exp(-step slope) and makes it sum to 1. An image whose energy would rise keeps its y and takes a smaller
    step next time; so the energy never rises.

    Args:
        image: [N, colours, H, W]; None without a contrast weight.
        prob: [N, C, H, W], softmax of the scores.
        label: [N, H, W] or [N, 1, H, W], ignore_label for pixels without a label.
        mask: [N, H, W] or [N, 1, H, W], 0 for pixels, such as padding, that get no label: y is 0 there.
        eta, smoothness: 0 or more.
        image_std: in the image's units; 0 for w_ij = 1.
        iterations: 0 or more; 0 gives the prediction.

    Raises:
        NetError: shapes that do not fit, settings out of range, label ids that are not classes.
    """
    check(eta, smoothness, image_std, iterations)
    prob = planar(LOSS, prob)
    known = labelled(LOSS, prob, label, ignore_label)
    fixed = known.one_hot().to(prob.dtype).reshape(prob.shape)
    inside = planes(LOSS, mask, prob)
    free = (~known.valid).to(prob.dtype).reshape(inside.shape) * inside
    energy = Energy(image, prob, free, inside, (eta, smoothness, image_std))
    still = fixed * inside
    soft = still + prob * free
    value, slope = energy.at(soft)
    step = torch.full_like(value, FIRST_STEP)
    for _ in range(iterations):
        moved = (soft.clamp(min=torch.finfo(soft.dtype).tiny).log() - step * slope).softmax(1)
        tried = torch.addcmul(still, moved, free)
        found, ahead = energy.at(tried)
        better = found <= value
        if better.is_cpu and better.all():  # asking a GPU would wait for it
            soft, value, slope = tried, found, ahead
        else:
            soft, value, slope = (
                new.where(better, old) for new, old in ((tried, soft), (found, value), (ahead, slope))
            )
        step = step * torch.where(better, FASTER, SLOWER)
    return soft


class Energy:
    """The energy of soft labels, by image.

    Args:
        settings: eta, smoothness and image_std.
    """

    def __init__(
        self,
        image: Tensor | None,
        prob: Tensor,
        free: Tensor,
        inside: Tensor,
        settings: tuple[float, float, float],
    ) -> None:
        self.prob, self.free = prob, free
        self.eta, self.smoothness, deviation = settings
        if image is None and deviation:
            found = f"image_std {deviation:g}, no image"
            raise error(LOSS, "a contrast weight needs an image", found=found, expected="an image")
        self.weights = [torch.mul(*ends(inside, offset)) for offset in NEIGHBOURS[4]]
        if image is not None and deviation:
            colours = photo(LOSS, image, prob) / (deviation * 2**0.5)
            pairs = [ends(colours, offset) for offset in NEIGHBOURS[4]]
            likeness = [(-(a - b).square().sum(1, keepdim=True)).exp() for a, b in pairs]
            self.weights = [w * like for w, like in zip(self.weights, likeness, strict=True)]

    def at(self, soft: Tensor) -> tuple[Tensor, Tensor]:
        """The energy [N, 1, 1, 1], and its derivative for the labels [N, C, H, W].

        Written out, because both need the same products; autograd takes three times as long.
        """
        tiny = torch.finfo(soft.dtype).tiny
        fit = product(self.prob, soft).clamp(min=tiny)
        value = -self.eta * (self.free * fit.log()).sum((1, 2, 3), keepdim=True)
        slope = self.prob * (-self.eta * self.free / fit * (fit > tiny))
        squares = product(soft, soft)
        shrink = torch.zeros_like(squares)  # how much of itself a pixel's slope has
        for offset, weights in zip(NEIGHBOURS[4], self.weights, strict=True):
            both = product(*ends(soft, offset))
            one, other = (square.clamp(min=tiny) for square in ends(squares, offset))
            cosine = both * (one * other).clamp(min=tiny).rsqrt()
            value += self.smoothness * (weights * minus_log(cosine)).sum((1, 2, 3), keepdim=True)
            pull = self.smoothness * weights * (cosine > SMALLEST)
            across = -pull / both.clamp(min=tiny)
            for mine, square in enumerate((one, other)):
                ends(slope, offset)[mine].addcmul_(ends(soft, offset)[1 - mine], across)
                ends(shrink, offset)[mine].add_(pull / square)
        return value, slope.addcmul_(soft, shrink)


def collision_cross_entropy_loss(prob: Tensor, soft: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of -ln <P, y> over the pixels that count: less strict than the cross-entropy where y is unsure.

    Args:
        prob: [N, C, H, W], softmax of the scores.
        soft: [N, C, H, W], soft labels; a pixel where they are 0 does not count; no gradient.
        mask: [N, H, W] or [N, 1, H, W], 1 for pixels that count; no gradient. None: all.

    Returns:
        0 or more, a 0-d float32 tensor (float64 for float64 prob), also under autocast; 0 if no pixel counts.

    Raises:
        NetError: shapes that do not fit.
    """
    prob = planar(LOSS, prob)
    if soft.shape != prob.shape:
        raise error(
            LOSS,
            "needs soft labels for each probability",
            found=f"{tuple(prob.shape)} and {tuple(soft.shape)}",
            expected="(N, C, H, W) twice",
        )
    soft = soft.detach().to(prob)
    counted = planes(LOSS, mask, prob) * (soft.sum(1, keepdim=True) > 0)
    return (counted * surprise(prob, soft)).sum() / counted.sum().clamp(min=1)


def surprise(prob: Tensor, soft: Tensor) -> Tensor:
    """-ln <P, y>, [N, 1, H, W]."""
    return -(prob * soft).sum(1, keepdim=True).clamp(min=torch.finfo(prob.dtype).tiny).log()


def check(eta: float, smoothness: float, image_std: float, iterations: int) -> None:
    """Refuses settings out of range."""
    settings = {"eta": eta, "smoothness": smoothness, "image_std": image_std, "iterations": iterations}
    for name, value in settings.items():
        not_below(LOSS, name, value, 0)
