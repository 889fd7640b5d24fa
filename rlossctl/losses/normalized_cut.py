"""The normalised-cut loss ("Normalized Cut Loss for Weakly-supervised CNN Segmentation", Tang 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlossctl.bilateral import bilateral_filter
from rlossctl.bilateral.ops import check_parameters
from rlossctl.losses.labelled import above_zero, photo, planar, planes

LOSS = "normalised-cut loss"


class NormalizedCutLoss(torch.nn.Module):
    """`normalized_cut_loss` with its settings.

    Args:
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's units.
        mode: "lattice", "symmetric" or "exact".
        eps: the least d^T S_k of a class that counts.
    """

    def __init__(
        self, sigma_xy: float = 40.0, sigma_rgb: float = 15.0, mode: str = "symmetric", eps: float = 1e-6
    ) -> None:
        super().__init__()
        check_parameters(sigma_xy, sigma_rgb, mode)
        above_zero(LOSS, "eps", eps)
        self.sigma_xy, self.sigma_rgb, self.mode, self.eps = sigma_xy, sigma_rgb, mode, eps

    def forward(self, image: Tensor, seg: Tensor, mask: Tensor | None = None) -> Tensor:
        return normalized_cut_loss(image, seg, mask, self.sigma_xy, self.sigma_rgb, self.mode, self.eps)

    def extra_repr(self) -> str:
        return f"sigma_xy={self.sigma_xy}, sigma_rgb={self.sigma_rgb}, mode={self.mode!r}, eps={self.eps}"


def normalized_cut_loss(
    image: Tensor,
    seg: Tensor,
    mask: Tensor | None = None,
    sigma_xy: float = 40.0,
    sigma_rgb: float = 15.0,
    mode: str = "symmetric",
    eps: float = 1e-6,
) -> Tensor:
    """Mean over images of sum_k S_k^T W (1 - S_k) / (d^T S_k), d = W 1.

    W is the operator of `rlossctl.bilateral`, a pixel's pair with itself included; pixels that the mask
    leaves out are in no pair. One pass of the filter over [S ; 1] gives value and gradient,
    d (S^T W S) / (d^T S)^2 - 2 W S / (d^T S), which takes W for symmetric: with "lattice", which is not
    quite, it is close to the derivative of the value, in the other modes it is the derivative. The gradient,
    as large as `seg`, is kept until the backward pass; it has a derivative in turn. A factor of W cancels, so
    the lattice's smaller sums do not matter.

    Args:
        image: [N, colours, H, W], 0 to 4 colours; no gradient.
        seg: [N, K, H, W], softmax of the scores.
        mask: [N, H, W] or [N, 1, H, W], 1 for pixels that count; no gradient. None: all count.
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's units, 15 for 0..255.
        mode: "lattice", "symmetric" or "exact"; see `bilateral_filter`.
        eps: a class of which the image has less than this (d^T S_k) adds nothing and has no gradient.

    Returns:
        0..K, whatever the image's size, a 0-d float32 tensor (float64 for float64 seg), also under
        autocast; 0 for an empty mask.

    Raises:
        NetError: shapes that do not fit, settings out of range, what `bilateral_filter` refuses.
    """
    above_zero(LOSS, "eps", eps)
    seg = planar(LOSS, seg)
    given = photo(LOSS, image, seg), planes(LOSS, mask, seg)
    loss: Tensor = _NormalizedCut.apply(seg, *given, float(sigma_xy), float(sigma_rgb), mode, eps)
    return loss


class _NormalizedCut(torch.autograd.Function):
    """The value, with the gradient from the same filter pass."""

    @staticmethod
    def forward(ctx: Any, seg: Tensor, image: Tensor, mask: Tensor, *settings: Any) -> Tensor:
        loss, slope = _value_and_slope(seg, image, mask, *settings)
        ctx.save_for_backward(seg, image, mask, slope)
        ctx.settings = settings
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *given, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient itself will be differentiated
            _, slope = _value_and_slope(*given, *ctx.settings)
        return upstream * slope, None, None, None, None, None, None


def _value_and_slope(
    seg: Tensor, image: Tensor, mask: Tensor, sigma_xy: float, sigma_rgb: float, mode: str, eps: float
) -> tuple[Tensor, Tensor]:
    """The loss and its gradient [N, K, H, W], in operations that can be differentiated."""
    soft = seg * mask
    filtered = bilateral_filter(torch.cat([soft, mask], 1), image, sigma_xy, sigma_rgb, mode) * mask
    within, degree = filtered[:, :-1], filtered[:, -1:]  # W S [N, K, H, W] and d [N, 1, H, W]
    association = (soft * within).sum((2, 3), keepdim=True)  # S^T W S
    mass = (soft * degree).sum((2, 3), keepdim=True)  # d^T S
    counts = mass > eps
    share = association / mass.where(counts, 1)
    slope = (degree * share - 2 * within) / mass.where(counts, 1)
    return (1 - share).where(counts, 0).sum() / len(seg), slope.where(counts, 0) / len(seg)
