"""The filter for given images, prepared once and applied many times."""

from __future__ import annotations

import torch

from rlossctl.bilateral import dispatch
from rlossctl.bilateral.ops import check, working_type


class Kernel:
    """`Kernel(image, sigma_xy, sigma_rgb, mode)(values)` is `bilateral_filter(values, image, ...)`.

    Anything that depends only on the image, such as the lattice, is computed once. Mean-field inference, for
    example, applies one kernel in every iteration. No gradient is recorded.

    Args:
        image: [N, C, H, W] float32 or float64 colours; other float types become float32.
        sigma_xy, sigma_rgb, mode: as for `bilateral_filter`.

    Raises:
        NetError: as `bilateral_filter`; a call raises it if its values do not fit the image.
    """

    def __init__(self, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str = "lattice") -> None:
        self._image = image.detach().to(working_type(image)).contiguous()
        self._parameters = float(sigma_xy), float(sigma_rgb), mode
        check(self._image[:, :0], self._image, *self._parameters)
        self._filter = dispatch.prepare(self._image, *self._parameters)

    @torch.no_grad()
    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """The filter applied to values [N, K, H, W] with the image's float type and device."""
        values = values.to(self._image.dtype)
        check(values, self._image, *self._parameters)
        return self._filter(values.contiguous())
