"""The call into the compiled kernel: addresses, sizes and the number of threads, nothing else."""

from __future__ import annotations

import torch

from rlossctl.bilateral.choice import native_module
from rlossctl.bilateral.packing import Packing


def lattice_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, packing: Packing
) -> torch.Tensor:
    """A applied to values [N, K, H, W] over image [N, C, H, W]: contiguous float32 on the CPU."""
    filtered = torch.empty_like(values)
    images, channels, height, width = values.shape
    layout = torch.tensor([packing.lows, packing.shifts], dtype=torch.int32)  # [2, d]
    native_module().bilateral_filter(
        values.data_ptr(),
        image.data_ptr(),
        filtered.data_ptr(),
        layout.data_ptr(),
        images,
        channels,
        image.shape[1],
        height,
        width,
        sigma_xy,
        sigma_rgb,
        torch.get_num_threads(),
    )
    return filtered
