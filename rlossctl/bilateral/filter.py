"""The public filter: checks its arguments and hands them to the kernel of their device."""

from __future__ import annotations

import torch

from rlossctl.bilateral import cuda, native, twin
from rlossctl.bilateral.choice import CUDA, NATIVE, announce, backend
from rlossctl.bilateral.packing import pack
from rlossctl.errors import NetError

MAX_COLOURS = 4


def bilateral_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float
) -> torch.Tensor:
    """Filters every channel of `values` with the lattice operator A of the original DenseCRF loss.

    A approximates, unnormalised and with the self term, the Gaussian of the feature distance with
    features (x / sigma_xy, y / sigma_xy, colour / sigma_rgb): a permutohedral lattice (Adams et al. 2010,
    in the form of Kraehenbuehl and Koltun 2011), about 0.6 times the exact sum. Features are not shifted,
    so adding a constant to the image changes the result a little. As in the original, the vertices around
    feature zero belong to the lattice of an image whose height x width is no multiple of 4 (its SSE code
    fills the last group of four pixels with zeros); this moves results by up to 0.4 %. On the CPU the
    result does not depend on the number of threads.

    Args:
        values: [N, K, H, W], any number of channels; half types are computed and returned in float32.
        image: [N, C, H, W], 0 to 4 colour channels on the same device, in the units of sigma_rgb; without
            channels A depends on the position alone.
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's own units.

    Returns:
        A applied to each channel, [N, K, H, W]. No gradient is recorded; the inputs are not changed.

    Raises:
        NetError: shapes or devices that do not fit, a sigma that is not positive or too small for the
            image's range of colours, NaN or infinity in the image. On the CUDA kernel, which never makes
            the host wait, the last two give NaN instead.
    """
    _check(values, image, sigma_xy, sigma_rgb)
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
        values = values.detach().to(dtype).contiguous()
        image = image.detach().to(dtype).contiguous()
        if values.numel() == 0:
            return torch.empty_like(values)
        chosen = backend(values.device)
        if chosen.name == CUDA and dtype == torch.float32:
            return cuda.lattice_filter(values, image, float(sigma_xy), float(sigma_rgb))
        packing = pack(image, float(sigma_xy), float(sigma_rgb))
        if chosen.name == NATIVE and dtype == torch.float32:
            return native.lattice_filter(values, image, float(sigma_xy), float(sigma_rgb), packing)
        announce(chosen, values.device)
        return twin.lattice_filter(values, image, float(sigma_xy), float(sigma_rgb), packing)


def _check(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
    for name, sigma in (("sigma_xy", sigma_xy), ("sigma_rgb", sigma_rgb)):
        if not 0 < sigma < float("inf"):
            raise NetError(
                f"{name} is no standard deviation",
                where="bilateral filter",
                found=sigma,
                expected="a finite number above 0",
                advice="sigma_xy is in pixels, sigma_rgb in the units of the image",
            )
    fits = values.dim() == 4 and image.dim() == 4 and values.shape[0] == image.shape[0]
    if not (fits and values.shape[2:] == image.shape[2:] and image.shape[1] <= MAX_COLOURS):
        raise NetError(
            "values and image do not fit together",
            where="bilateral filter",
            found=f"values {tuple(values.shape)}, image {tuple(image.shape)}",
            expected=f"values (N, K, H, W) and image (N, C, H, W) with C from 0 to {MAX_COLOURS}",
            advice="resize one of them first",
        )
    if not (values.is_floating_point() and image.is_floating_point() and values.device == image.device):
        raise NetError(
            "values and image must be floating point and lie on one device",
            where="bilateral filter",
            found=f"values {values.dtype} on {values.device}, image {image.dtype} on {image.device}",
            expected="two floating-point tensors on one device",
            advice="convert them with .to(device, dtype)",
        )
