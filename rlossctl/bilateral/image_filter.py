"""The public filter: converts its arguments for the operator."""

from __future__ import annotations

import torch

from rlossctl.bilateral.ops import filter_op, working_type
from rlossctl.errors import NetError


def bilateral_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str = "lattice"
) -> torch.Tensor:
    """Filters every channel of `values` with the operator A of the DenseCRF loss.

    A weighs pairs of pixels by exp(-|f_i - f_j|^2 / 2), unnormalised and including the self term. Features
    are f = (x / sigma_xy, y / sigma_xy, colour / sigma_rgb). The mode says how exact A is:

    - "lattice": the original's permutohedral lattice (Adams et al. 2010, in the form of Kraehenbuehl and
      Koltun 2011), about 0.6 times the exact sum and symmetric up to 1 to 7 %. Features are not shifted, so
      adding a constant to the image changes the result a little. If height x width is not a multiple of 4,
      the lattice includes the vertices around feature zero, as in the original, whose SSE code fills the last
      group of four pixels with zeros. This changes results by up to 0.4 %.
    - "symmetric": the mean of that lattice and its transpose.
    - "exact": the Gaussian sum, up to 1e-6 (float64: 1e-12) of each channel's largest magnitude. Its time
      grows with the square of the number of pixels.

    docs/densecrf.md says when to use which mode. The gradient with respect to `values` is A^T times the
    upstream gradient; the image gets none. On the CPU, the lattice's result does not depend on the number of
    threads.

    Args:
        values: [N, K, H, W], any number of channels; half types are computed and returned in float32, also
            under autocast.
        image: [N, C, H, W], 0 to 4 colour channels on the same device, in the units of sigma_rgb; without
            channels, A depends only on the position.
        sigma_xy: standard deviation in pixels.
        sigma_rgb: standard deviation in the image's own units.
        mode: "lattice", "symmetric" or "exact".

    Returns:
        A applied to each channel, [N, K, H, W]. The inputs are not changed.

    Raises:
        NetError: shapes or devices do not fit; the mode is unknown; a sigma is not positive or (for the
            lattice) too small for the image's range of colours; the image has NaN or infinity; or a
            torch.export or ONNX export is running, which has no such operator. The CUDA kernel never makes
            the host wait, so for errors in the image's values it gives NaN instead.
    """
    if not (values.is_floating_point() and image.is_floating_point()):
        raise NetError(
            "values and image must be floating point",
            where="bilateral filter",
            found=f"values {values.dtype}, image {image.dtype}",
            expected="two floating-point tensors",
            advice="convert them with .to(dtype)",
        )
    dtype = working_type(values)
    return filter_op(values.to(dtype), image.detach().to(dtype), float(sigma_xy), float(sigma_rgb), mode)
