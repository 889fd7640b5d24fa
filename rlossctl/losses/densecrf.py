"""The DenseCRF loss of "On Regularized Losses for Weakly-supervised CNN Segmentation" (Tang et al. 2018)."""

from __future__ import annotations

import torch
from torch.nn import functional

from rlossctl.bilateral.ops import working_type
from rlossctl.losses.inputs import InputCheck
from rlossctl.losses.ops import densecrf_op, error


class DenseCRFLoss(torch.nn.Module):
    """weight * DenseCRF loss of softmax scores: the module that many repositories copy from rloss/pytorch.

    All three inputs are first resized by `scale_factor` (image and ROI nearest, segmentation bilinear
    with align_corners False) and sigma_xy is multiplied by it. The loss is a negative number and a sum
    over pairs of pixels, so the right weight depends on crop and scale_factor (paper: 2e-9 for 513 at 0.5).
    Runs on the segmentation's device, where image and ROI are brought if they lie elsewhere, in float32
    (float64 for a float64 segmentation), also under autocast. No input is changed. Inputs that can hardly be
    meant (an image scaled to 0..1, scores without a softmax, an empty ROI) give a LossInputWarning, each
    kind once.

    Args:
        weight: factor of the loss.
        sigma_rgb: standard deviation in colour, in the image's units.
        sigma_xy: standard deviation in pixels before scaling.
        scale_factor: resizing of the inputs, 1 for none.
        mode: "lattice", "symmetric" or "exact"; published weights belong to "lattice".
    """

    def __init__(
        self, weight: float, sigma_rgb: float, sigma_xy: float, scale_factor: float, mode: str = "lattice"
    ) -> None:
        super().__init__()
        if not 0 < scale_factor < float("inf"):
            raise error("scale_factor is not a factor", scale_factor, "a number above 0, 1 for no resizing")
        self.weight = weight
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.scale_factor = scale_factor
        self.mode = mode
        self._inputs = InputCheck("DenseCRFLoss", sigma_rgb)

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
        device, dtype = segmentations.device, working_type(segmentations)
        segmentations = segmentations.to(dtype)
        images = images.detach().to(device, dtype)
        rois = rois.detach().to(device, dtype)
        self._inputs.look(images, segmentations, rois)
        if self.scale_factor != 1:
            images = functional.interpolate(images, scale_factor=self.scale_factor)
            rois = functional.interpolate(rois, scale_factor=self.scale_factor)
            segmentations = functional.interpolate(
                segmentations, scale_factor=self.scale_factor, mode="bilinear", align_corners=False
            )
        sigmas = self.sigma_xy * self.scale_factor, self.sigma_rgb
        loss = densecrf_loss(images, segmentations, rois, *sigmas, self.mode, upstream=self.weight)
        return self.weight * loss

    def extra_repr(self) -> str:
        names = ("weight", "sigma_rgb", "sigma_xy", "scale_factor", "mode")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def densecrf_loss(
    image: torch.Tensor,
    seg: torch.Tensor,
    mask: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    mode: str = "lattice",
    *,
    upstream: float = 1.0,
) -> torch.Tensor:
    """-(1/N) sum over images n and classes k of s_nk^T A_n s_nk, with s = seg * mask; Caffe's DenseCRFLoss.

    A is the operator of `rlossctl.bilateral`, built from all pixels, masked ones too. The gradient given to
    `seg` is the original's, -(2/N) mask * (A s). It takes A for symmetric, which the original's lattice is
    not quite (1 to 7 % of A s), so with it the gradient is close to, not equal to, the derivative of the
    value; in the modes "symmetric" and "exact" it is the derivative. One filter pass gives both; until the
    backward pass the gradient, as large as `seg`, is kept.

    Args:
        image: [N, C, H, W] colours as the net sees them; no gradient.
        seg: [N, K, H, W] soft segmentation.
        mask: [N, 1, H, W] or [N, H, W], 1 for pixels that count, 0 for the others; no gradient.
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's units.
        mode: "lattice" (the original's), "symmetric" or "exact"; see `bilateral_filter`.
        upstream: the gradient expected from above, such as a loss weight. If it comes so, the backward pass
            has nothing to compute on the CPU; another one is as right.

    Returns:
        The loss, a 0-d float32 tensor (float64 for float64 `seg`), also under autocast.

    Raises:
        NetError: shapes that do not fit, an unknown mode, a sigma that is not positive or too small for the
            image, NaN (CPU), an export to ONNX or by torch.export.
    """
    mask = _roi_planes(mask, seg)
    dtype = working_type(seg)
    seg = seg if seg.dtype == dtype else seg.to(dtype)
    loss, _ = densecrf_op(
        _fixed(image, dtype),
        seg,
        _fixed(mask, dtype),
        float(sigma_xy),
        float(sigma_rgb),
        mode,
        float(upstream) or 1.0,
    )
    return loss


def caffe_mask(data: torch.Tensor) -> torch.Tensor:
    """The pixels that Caffe's DenseCRFLoss layer counts: [N, 1, H, W] of 0 and 1 from data [N, C, H, W].

    The layer takes for padding what truncates to the integer 0 in every channel of the mean-subtracted
    image. So real pixels within 1 of the mean in all channels are left out too.
    """
    return (data.detach().abs() >= 1).any(dim=1, keepdim=True).to(data.dtype)


def _fixed(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As `dtype` and without gradient; itself if it is so, for even a step that does nothing takes time."""
    return tensor if tensor.dtype == dtype and not tensor.requires_grad else tensor.detach().to(dtype)


def _roi_planes(rois: torch.Tensor, seg: torch.Tensor) -> torch.Tensor:
    """`rois` as [N, 1, H, W] (a view), checked against the segmentation."""
    planes = rois.unsqueeze(1) if rois.dim() == 3 else rois
    if not seg.is_floating_point():
        raise error("the segmentation must hold soft scores", seg.dtype, "a floating-point tensor")
    if seg.dim() != 4 or planes.shape != (len(seg), 1, *seg.shape[2:]):
        found = f"segmentation {tuple(seg.shape)}, mask {tuple(rois.shape)}"
        raise error("segmentation and mask do not fit", found, "(N, K, H, W) and (N, H, W) or (N, 1, H, W)")
    return planes
