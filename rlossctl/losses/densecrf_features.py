"""The DenseCRF loss with further features of each pixel, such as depth, beside place and colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlossctl.bilateral import twin
from rlossctl.bilateral.limits import MAX_FEATURES
from rlossctl.bilateral.ops import check_parameters
from rlossctl.bilateral.point_ops import point_op
from rlossctl.losses.ops import error


@dataclass(frozen=True)
class Features:
    """Further features of each pixel.

    Attributes:
        values: [N, M, H, W]; no gradient.
        std: their standard deviations, one for all channels or one for each.
    """

    values: torch.Tensor
    std: Sequence[float]


def loss_with_features(
    image: torch.Tensor,
    seg: torch.Tensor,
    mask: torch.Tensor,
    sigmas: tuple[float, float],
    mode: str,
    features: Features,
) -> torch.Tensor:
    """`densecrf_loss` with an operator A over place, colour and `features`: d = 2 + C + M, up to 6.

    As there, the gradient is -(2/N) mask * (A s), which treats A as symmetric, and A has all pixels.

    Args:
        image: [N, C, H, W], seg: [N, K, H, W], mask: [N, 1, H, W], all float32 or all float64.
        sigmas: sigma_xy and sigma_rgb.

    Returns:
        The loss, a 0-d tensor.

    Raises:
        NetError: shapes do not fit, there are too many features, a standard deviation is not positive or too
            small, or a value is NaN (CPU).
    """
    check_parameters(*sigmas, mode)
    masked = seg * mask
    planes = masked.flatten(2)  # [N, K, P]
    filtered = point_op(planes.detach(), _points(image, sigmas, features), mode)  # A s
    # One image at a time in float64, because the sum has many terms of one sign. Its derivative is 2 A s.
    sums = [
        (2 * s - s.detach()).mul(a).sum(dtype=torch.float64) for s, a in zip(planes, filtered, strict=True)
    ]
    loss = (torch.stack(sums).sum() / -len(seg)).to(seg.dtype)
    if loss.device.type == "cpu" and not torch.compiler.is_compiling() and math.isnan(loss.item()):
        raise error("the loss is NaN", "NaN in the segmentation or the mask", "finite scores")
    return loss


def _points(image: torch.Tensor, sigmas: tuple[float, float], features: Features) -> torch.Tensor:
    """The features of each pixel in units of their standard deviations, [N, P, d]."""
    values = features.values.detach().to(image)
    fits = values.dim() == image.dim() == 4 and values.shape[0] == image.shape[0]
    if not fits or values.shape[2:] != image.shape[2:]:
        found = f"image {tuple(image.shape)}, features {tuple(values.shape)}"
        raise error("image and features do not fit", found, "(N, C, H, W) and (N, M, H, W)")
    count = values.shape[1]
    if len(features.std) not in (1, count) or not all(0 < std < math.inf for std in features.std):
        found = f"{list(features.std)} for {count} channels"
        raise error(
            "these are not the features' standard deviations", found, "one above 0, or one per channel"
        )
    if 2 + image.shape[1] + count > MAX_FEATURES:
        found = f"2 of the place, {image.shape[1]} of the image and {count} further ones"
        raise error("too many features", found, f"at most {MAX_FEATURES} together")
    std = values.new_tensor(list(features.std)).view(-1, 1)
    further = (values.flatten(2) / std).transpose(1, 2)  # [N, P, M]
    own = torch.stack([twin.features(colours, *sigmas) for colours in image])
    return torch.cat([own, further], dim=2)
