"""The calls into the compiled kernels: addresses, sizes and the number of threads, nothing else.

All tensors are contiguous float32 on the CPU: values [N, K, H, W], image [N, C, H, W], mask [N, 1, H, W].
`order` is the order of the blur's axes: FORWARD as the original, BACKWARD for the transpose, MEAN of both for
a symmetric operator. Every call uses torch's number of threads; no result depends on it.
"""

from __future__ import annotations

import torch

from rlossctl.bilateral.choice import native_module
from rlossctl.bilateral.packing import Packing
from rlossctl.bilateral.twin import FORWARD


def lattice_filter(
    values: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    packing: Packing,
    order: int = FORWARD,
) -> torch.Tensor:
    """A applied to values over image, [N, K, H, W]."""
    filtered = torch.empty_like(values)
    layout = _layout(packing)
    native_module().bilateral_filter(
        *(tensor.data_ptr() for tensor in (values, image, filtered, layout)),
        *_sizes(values, image),
        sigma_xy,
        sigma_rgb,
        order,
        torch.get_num_threads(),
    )
    return filtered


def densecrf(
    values: torch.Tensor,
    mask: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    packing: Packing,
    factor: float,
    order: int = FORWARD,
) -> tuple[torch.Tensor, torch.Tensor]:
    """With s = values * mask: factor * mask * (A s) [N, K, H, W], and s_n^T A_n s_n [N] in float64."""
    gradient = torch.empty_like(values)
    energies = torch.empty(len(values), dtype=torch.float64)
    layout = _layout(packing)
    native_module().densecrf(
        *(tensor.data_ptr() for tensor in (values, mask, image, gradient, energies, layout)),
        *_sizes(values, image),
        sigma_xy,
        sigma_rgb,
        order,
        factor,
        torch.get_num_threads(),
    )
    return gradient, energies


def exact_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, cutoff: float
) -> torch.Tensor:
    """The Gaussian sum itself, [N, K, H, W]; what `cutoff` leaves out is at most cutoff * sum |values|."""
    filtered = torch.empty_like(values)
    native_module().exact_filter(
        *(tensor.data_ptr() for tensor in (values, image, filtered)),
        *_sizes(values, image),
        sigma_xy,
        sigma_rgb,
        cutoff,
        torch.get_num_threads(),
    )
    return filtered


class Lattices:
    """The lattices of the images [N, C, H, W], kept to filter many times."""

    def __init__(self, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, packing: Packing) -> None:
        images, colours, height, width = image.shape
        layout = _layout(packing)
        addresses = image.data_ptr(), layout.data_ptr()
        sizes = images, colours, height, width
        self._shape = images, height, width
        self._kept = native_module().Lattices(
            *addresses, *sizes, sigma_xy, sigma_rgb, torch.get_num_threads()
        )

    def filter(self, values: torch.Tensor, order: int = FORWARD) -> torch.Tensor:
        """A applied to values [N, K, H, W] of the images' N, H and W."""
        images, channels, height, width = values.shape
        if (images, height, width) != self._shape:
            raise ValueError(f"values of shape {tuple(values.shape)} for images {self._shape}")
        filtered = torch.empty_like(values)
        threads = torch.get_num_threads()
        self._kept.filter(values.data_ptr(), filtered.data_ptr(), channels, order, threads)
        return filtered

    @property
    def vertices(self) -> int:
        """How many vertices the lattices have together."""
        return self._kept.vertices


def _layout(packing: Packing) -> torch.Tensor:
    return torch.tensor([packing.lows, packing.shifts], dtype=torch.int32)  # [2, d]


def _sizes(values: torch.Tensor, image: torch.Tensor) -> tuple[int, ...]:
    images, channels, height, width = values.shape
    return images, channels, image.shape[1], height, width
