"""The DenseCRF loss of "On Regularized Losses for Weakly-supervised CNN Segmentation" (Tang et al. 2018)."""

from __future__ import annotations

import torch
from torch.nn import functional

from rlossctl.bilateral.ops import working_type
from rlossctl.losses.densecrf_features import Features, loss_with_features
from rlossctl.losses.inputs import InputCheck
from rlossctl.losses.ops import densecrf_op, error


class DenseCRFLoss(torch.nn.Module):
    """weight * DenseCRF loss of softmax scores: the module that many repositories copy from rloss/pytorch.

    All three inputs are first resized by `scale_factor` (image and ROI with nearest neighbour, segmentation
    bilinearly with align_corners False), and sigma_xy is multiplied by it. The loss is negative and a sum
    over pairs of pixels, so the right weight depends on crop and scale_factor (paper: 2e-9 for 513 at 0.5).
    It runs on the segmentation's device, to which image and ROI are moved if necessary, in float32 (float64
    for a float64 segmentation), also under autocast. Inputs are not changed. Inputs that are probably a
    mistake (an image scaled to 0..1, scores without a softmax, an empty ROI) give a LossInputWarning, each
    kind once.

    Args:
        weight: factor of the loss.
        sigma_rgb: standard deviation in colour, in the image's units.
        sigma_xy: standard deviation in pixels before scaling.
        scale_factor: resizes the inputs; 1 keeps their size.
        mode: "lattice", "symmetric" or "exact"; published weights belong to "lattice".
    """

    def __init__(
        self, weight: float, sigma_rgb: float, sigma_xy: float, scale_factor: float, mode: str = "lattice"
    ) -> None:
        super().__init__()
        if not 0 < scale_factor < float("inf"):
            raise error("scale_factor is not a factor", scale_factor, "a number above 0; 1 does not resize")
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
            rois: [N, H, W] or [N, 1, H, W], 1 for pixels that count, 0 for padding.

        Raises:
            NetError: shapes do not fit, a value is NaN, or a sigma is not positive or too small.
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
    features: Features | None = None,
) -> torch.Tensor:
    """-(1/N) sum over images n and classes k of s_nk^T A_n s_nk, with s = seg * mask; Caffe's DenseCRFLoss.

    A is the operator from `rlossctl.bilateral`, built from all pixels, including masked ones. The gradient
    for `seg` is the original's, -(2/N) mask * (A s). It treats A as symmetric. The original's lattice is not
    quite symmetric (1 to 7 % of A s), so in mode "lattice" the gradient is close to the derivative of the
    value, but not equal to it; in the modes "symmetric" and "exact" it is the derivative. One filter pass
    gives loss and gradient. The gradient, as large as `seg`, is kept until the backward pass.

    Args:
        image: [N, C, H, W] colours as the net sees them; no gradient.
        seg: [N, K, H, W] soft segmentation.
        mask: [N, 1, H, W] or [N, H, W], 1 for pixels that count, 0 for others; no gradient.
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's units.
        mode: "lattice" (the original's), "symmetric" or "exact"; see `bilateral_filter`.
        upstream: the upstream gradient to expect, such as a loss weight. If it is right, the backward pass
            has nothing to compute on the CPU; any other gradient gives correct results, too.
        features: further features of each pixel, such as depth, beside place and colour.

    Returns:
        The loss, a 0-d float32 tensor (float64 for float64 `seg`), also under autocast.

    Raises:
        NetError: shapes do not fit, the mode is unknown, a sigma is not positive or too small for the image,
            a value is NaN (CPU), or an export to ONNX or by torch.export is running.
    """
    mask = _roi_planes(mask, seg)
    dtype = working_type(seg)
    seg = seg if seg.dtype == dtype else seg.to(dtype)
    if features is not None:
        return loss_with_features(
            _fixed(image, dtype),
            seg,
            _fixed(mask, dtype),
            (float(sigma_xy), float(sigma_rgb)),
            mode,
            features,
        )
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

    The layer treats a pixel as padding if every channel of the mean-subtracted image truncates to the integer
    0. So it also leaves out real pixels that are within 1 of the mean in all channels.
    """
    return (data.detach().abs() >= 1).any(dim=1, keepdim=True).to(data.dtype)


def _fixed(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Converts to `dtype` and detaches, only if necessary: even a step that does nothing takes time."""
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
