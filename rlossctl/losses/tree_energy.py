"""The tree energy loss (Liang et al. 2022): predictions against their averages along trees of the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rlossctl.grid.tree import tree_filter
from rlossctl.losses.labelled import IGNORE, above_zero, error, planar

LOSS = "tree energy loss"


class TreeEnergyLoss(torch.nn.Module):
    """`tree_energy_loss` of the pixels without a label.

    Args:
        sigma: divides squared differences of colours, in the image's units squared.
        ignore_label: of the pixels without a label.
    """

    def __init__(self, sigma: float = 0.02, ignore_label: int = IGNORE) -> None:
        super().__init__()
        above_zero(LOSS, "sigma", sigma)
        self.sigma, self.ignore_label = sigma, ignore_label

    def forward(
        self,
        image: Tensor,
        prob: Tensor,
        label: Tensor,
        features: Tensor | None = None,
        inside: Tensor | None = None,
    ) -> Tensor:
        """The loss of `prob` [N, C, h, w] over pixels of `label` that are ignore_label.

        Args:
            label: [N, H, W] or [N, 1, H, W], of any size.
            inside: [N, 1, H, W] of any size, 0 for padding.
        """
        free = resized_mask(prob, label == self.ignore_label)
        if inside is not None:
            free = free * resized_mask(prob, inside)
        return tree_energy_loss(image, prob, free, features, self.sigma)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}, ignore_label={self.ignore_label}"


def tree_energy_loss(
    image: Tensor,
    prob: Tensor,
    mask: Tensor | None = None,
    features: Tensor | None = None,
    sigma: float = 0.02,
) -> Tensor:
    """sum over the pixels that count of sum_c |P - F(P)|, divided by their number in the batch.

    F averages along the minimum spanning tree of the image (`rlossctl.grid.tree.tree_filter`, with sigma),
    and then, if there are features, along theirs (with sigma 1). The gradient flows through P on both sides
    and through the affinities of the features; the trees are fixed.

    Args:
        image: [N, colours, H, W], brought to prob's size if it has another (bilinear, align_corners False);
            no gradient.
        prob: [N, C, h, w], softmax of the scores.
        mask: [N, H, W] or [N, 1, H, W], 1 for pixels that count, of any size (nearest neighbour); no
            gradient. None: all count.
        features: [N, F, h, w] of the net.
        sigma: divides squared differences of colours, in the image's units squared: 0.02 for images divided
            by their standard deviation.

    Returns:
        0 to 2, a 0-d float32 tensor (float64 for float64 prob), also under autocast; 0 for an empty mask.

    Raises:
        NetError: shapes that do not fit, sigma out of range.
    """
    above_zero(LOSS, "sigma", sigma)
    prob = planar(LOSS, prob)
    counted = prob.new_ones(prob[:, :1].shape) if mask is None else resized_mask(prob, mask)
    target = tree_filter(prob, _low(image, prob), sigma)
    if features is not None:
        target = tree_filter(target, _high(features, prob))
    return (counted * (prob - target).abs()).sum() / counted.sum().clamp(min=1)


def resized_mask(prob: Tensor, mask: Tensor) -> Tensor:
    """A mask [N, H, W] or [N, 1, H, W] of any size as [N, 1, h, w] in prob's type: nearest neighbour."""
    plane = mask.unsqueeze(1) if mask.dim() == 3 else mask
    if plane.dim() != 4 or plane.shape[:2] != (len(prob), 1) or not plane.shape[2:].numel():
        raise error(
            LOSS,
            "probabilities and mask do not fit",
            found=f"{tuple(prob.shape)} and {tuple(mask.shape)}",
            expected="(N, C, h, w) and (N, H, W) or (N, 1, H, W)",
        )
    dtype = torch.float64 if prob.dtype == torch.float64 else torch.float32
    plane = plane.detach().to(prob.device, dtype)
    return plane if plane.shape[2:] == prob.shape[2:] else functional.interpolate(plane, prob.shape[2:])


def _low(image: Tensor, prob: Tensor) -> Tensor:
    """The image at prob's size, without gradient."""
    if image.dim() != 4 or len(image) != len(prob):
        _refuse("image", image, prob)
    image = image.detach().to(prob)
    if image.shape[2:] == prob.shape[2:]:
        return image
    return functional.interpolate(image, prob.shape[2:], mode="bilinear", align_corners=False)


def _high(features: Tensor, prob: Tensor) -> Tensor:
    if features.dim() != 4 or (len(features), *features.shape[2:]) != (len(prob), *prob.shape[2:]):
        _refuse("features", features, prob)
    return features.to(prob)


def _refuse(name: str, blob: Tensor, prob: Tensor) -> None:
    raise error(
        LOSS,
        f"probabilities and {name} do not fit",
        found=f"{tuple(prob.shape)} and {tuple(blob.shape)}",
        expected="(N, C, h, w) and an image (N, colours, H, W), features (N, F, h, w)",
        advice="resize one of them (Interp)",
    )
