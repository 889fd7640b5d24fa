"""The DenseCRF loss of "On Regularized Losses for Weakly-supervised CNN Segmentation" (Tang et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rlossctl.bilateral import bilateral_filter
from rlossctl.errors import NetError


class DenseCRFLoss(torch.nn.Module):
    """weight * DenseCRF loss of softmax scores: the module that many repositories copy from rloss/pytorch.

    All three inputs are first resized by `scale_factor` (image and ROI nearest, segmentation bilinear
    with align_corners False) and sigma_xy is multiplied by it. The loss is a negative number and a sum
    over pairs of pixels, so the right weight depends on crop and scale_factor (paper: 2e-9 for 513 at 0.5).
    Runs on the segmentation's device, where image and ROI are brought if they lie elsewhere, in float32
    (float64 for a float64 segmentation), also under autocast. No input is changed.

    Args:
        weight: factor of the loss.
        sigma_rgb: standard deviation in colour, in the image's units.
        sigma_xy: standard deviation in pixels before scaling.
        scale_factor: resizing of the inputs, 1 for none.
    """

    def __init__(self, weight: float, sigma_rgb: float, sigma_xy: float, scale_factor: float) -> None:
        super().__init__()
        if not 0 < scale_factor < float("inf"):
            raise _error("scale_factor is no factor", scale_factor, "a number above 0, 1 for no resizing")
        self.weight = weight
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.scale_factor = scale_factor

    def forward(self, images: torch.Tensor, segmentations: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Returns the weighted loss as a 0-d tensor.

        Args:
            images: [N, C, H, W] colours 0..255 in any channel order, not normalised.
            segmentations: [N, K, H, W] softmax scores; the only input that gets a gradient.
            rois: [N, H, W] or [N, 1, H, W], 1 where the loss looks, 0 for padding.

        Raises:
            NetError: shapes that do not fit, NaN, a sigma that is not positive or too small.
        """
        rois = _roi_planes(rois, segmentations)
        device, dtype = segmentations.device, _working_type(segmentations)
        with torch.autocast(device.type, enabled=False):
            segmentations = segmentations.to(dtype)
            images = images.detach().to(device, dtype)
            rois = rois.detach().to(device, dtype)
            if self.scale_factor != 1:
                images = functional.interpolate(images, scale_factor=self.scale_factor)
                rois = functional.interpolate(rois, scale_factor=self.scale_factor)
                segmentations = functional.interpolate(
                    segmentations, scale_factor=self.scale_factor, mode="bilinear", align_corners=False
                )
            sigma_xy = self.sigma_xy * self.scale_factor
            return self.weight * densecrf_loss(images, segmentations, rois, sigma_xy, self.sigma_rgb)

    def extra_repr(self) -> str:
        return (
            f"weight={self.weight}, sigma_rgb={self.sigma_rgb}, sigma_xy={self.sigma_xy}, "
            f"scale_factor={self.scale_factor}"
        )


def densecrf_loss(
    image: torch.Tensor, seg: torch.Tensor, mask: torch.Tensor, sigma_xy: float, sigma_rgb: float
) -> torch.Tensor:
    """-(1/N) sum over images n and classes k of s_nk^T A_n s_nk, with s = seg * mask; Caffe's DenseCRFLoss.

    A is the lattice operator of `rlossctl.bilateral`, built from all pixels, masked ones too. The gradient
    given to `seg` is the original's, -(2/N) mask * (A s). It takes A for symmetric, which the lattice is
    not quite (1 to 7 % of A s), so it is close to, not equal to, the derivative of the value.

    Args:
        image: [N, C, H, W] colours as the net sees them; no gradient.
        seg: [N, K, H, W] soft segmentation.
        mask: [N, 1, H, W] or [N, H, W], 1 for pixels that count, 0 for the others; no gradient.
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's units.

    Returns:
        The loss, a 0-d float32 tensor (float64 for float64 `seg`).

    Raises:
        NetError: shapes that do not fit, NaN, a sigma that is not positive or too small for the image.
    """
    mask = _roi_planes(mask, seg)
    dtype = _working_type(seg)
    if seg.is_meta:  # while a net is built only the shape of the loss is asked for
        return seg.new_empty((), dtype=dtype)
    with torch.autocast(seg.device.type, enabled=False):
        tensors = image.detach().to(dtype), seg.to(dtype), mask.detach().to(dtype)
        return _DenseCRF.apply(*tensors, float(sigma_xy), float(sigma_rgb))


def caffe_mask(data: torch.Tensor) -> torch.Tensor:
    """The pixels that Caffe's DenseCRFLoss layer counts: [N, 1, H, W] of 0 and 1 from data [N, C, H, W].

    The layer takes for padding what truncates to the integer 0 in every channel of the mean-subtracted
    image. So real pixels within 1 of the mean in all channels are left out too.
    """
    return (data.detach().abs() >= 1).any(dim=1, keepdim=True).to(data.dtype)


class _DenseCRF(torch.autograd.Function):
    """Filters once in forward and keeps A s for backward."""

    @staticmethod
    def forward(
        ctx: Any,
        image: torch.Tensor,
        seg: torch.Tensor,
        mask: torch.Tensor,
        sigma_xy: float,
        sigma_rgb: float,
    ) -> torch.Tensor:
        masked = seg * mask  # [N, K, H, W]
        filtered = bilateral_filter(masked, image, sigma_xy, sigma_rgb)  # [N, K, H, W]
        # Summed in double, for the terms are many and of one sign; by image, to keep the products small.
        total = sum((s * a).sum(dtype=torch.float64) for s, a in zip(masked, filtered, strict=True))
        if total.isnan():
            raise _error("the loss is NaN", "NaN in the segmentation or the mask", "finite scores")
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(filtered, mask)
        return (-total / len(seg)).to(seg.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if not ctx.needs_input_grad[1]:
            return None, None, None, None, None
        filtered, mask = ctx.saved_tensors
        return None, filtered * (mask * (upstream * (-2 / len(filtered)))), None, None, None


def _working_type(seg: torch.Tensor) -> torch.dtype:
    return torch.float64 if seg.dtype == torch.float64 else torch.float32


def _roi_planes(rois: torch.Tensor, seg: torch.Tensor) -> torch.Tensor:
    """`rois` as [N, 1, H, W] (a view), checked against the segmentation."""
    planes = rois.unsqueeze(1) if rois.dim() == 3 else rois
    if seg.dim() != 4 or len(seg) == 0 or planes.shape != (len(seg), 1, *seg.shape[2:]):
        found = f"segmentation {tuple(seg.shape)}, mask {tuple(rois.shape)}"
        raise _error("segmentation and mask do not fit", found, "(N, K, H, W) and (N, H, W) or (N, 1, H, W)")
    if not seg.is_floating_point():
        raise _error("the segmentation must hold soft scores", seg.dtype, "a floating-point tensor")
    return planes


def _error(message: str, found: object, expected: str) -> NetError:
    advice = "see the documentation of rlossctl.losses.densecrf_loss"
    return NetError(message, where="DenseCRF loss", found=found, expected=expected, advice=advice)
