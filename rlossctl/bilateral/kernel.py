"""The filter of given images, prepared once and applied many times."""

from __future__ import annotations

import torch

from rlossctl.bilateral.filter import bilateral_filter


class Kernel:
    """K of a batch of images: `kernel(values)` is `bilateral_filter(values, image, sigma_xy, sigma_rgb)`.

    What depends on the image alone is computed once. Mean-field inference applies one kernel in every
    iteration.

    Args:
        image: [N, C, H, W] colours, as for `bilateral_filter`.
        sigma_xy, sigma_rgb, mode: as for `bilateral_filter`.
    """

    def __init__(self, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
        self._arguments = image, sigma_xy, sigma_rgb

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return bilateral_filter(values, *self._arguments)
