"""Calls the compiled kernels: passes addresses, sizes and the number of threads, and nothing else.

All tensors are contiguous float32 on the CPU: values [N, K, H, W], image [N, C, H, W], mask [N, 1, H, W].
`order` is the order of the blur's axes: FORWARD as in the original, BACKWARD for the transpose, MEAN for the
mean of both, a symmetric operator. Every call uses torch's number of threads; results do not depend on it.
"""

from __future__ import annotations

from types import ModuleType

import torch

from rlossctl.bilateral import memory
from rlossctl.bilateral.choice import find_native
from rlossctl.bilateral.gated import Pairs
from rlossctl.bilateral.packing import pack, pack_points
from rlossctl.bilateral.twin import FORWARD


def lattice_filter(
    values: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    order: int = FORWARD,
) -> torch.Tensor:
    """A applied to values over image, [N, K, H, W]."""
    filtered = memory.empty_like(values)
    sigmas = sigma_xy, sigma_rgb
    arguments = *_addresses(values, image, filtered), *_sizes(values, image), *sigmas, order
    try:
        _kernel().bilateral_filter(*arguments, torch.get_num_threads())
    except ValueError:
        _explain(image, *sigmas)
        raise
    return filtered


def densecrf(
    values: torch.Tensor,
    mask: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    factor: float,
    order: int = FORWARD,
) -> tuple[torch.Tensor, torch.Tensor]:
    """factor * mask * (A s) [N, K, H, W], and s_n^T A_n s_n [N] in float64, where s = values * mask."""
    gradient = memory.empty_like(values)
    energies = torch.empty(len(values), dtype=torch.float64)
    sigmas = sigma_xy, sigma_rgb
    addresses = _addresses(values, mask, image, gradient, energies)
    arguments = *addresses, *_sizes(values, image), *sigmas, order, factor
    try:
        _kernel().densecrf(*arguments, torch.get_num_threads())
    except ValueError:
        _explain(image, *sigmas)
        raise
    return gradient, energies


def exact_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, cutoff: float
) -> torch.Tensor:
    """The Gaussian sum, [N, K, H, W]; terms left out by `cutoff` are at most cutoff * sum |values|."""
    filtered = torch.empty_like(values)
    _kernel().exact_filter(
        *_addresses(values, image, filtered),
        *_sizes(values, image),
        sigma_xy,
        sigma_rgb,
        cutoff,
        torch.get_num_threads(),
    )
    return filtered


def gated_filter(values: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """`gated.gated_filter`: [N, K, h, w]."""
    filtered = torch.empty_like(values)
    threads = torch.get_num_threads()
    _kernel().gated_filter(values.data_ptr(), _gated(values, pairs), filtered.data_ptr(), threads)
    return filtered


def gated_crf(values: torch.Tensor, pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """`gated.gated_crf`: the gradient [N, K, h, w], and the energies [N] in float64."""
    gradient = torch.empty_like(values)
    energies = torch.empty(len(values), dtype=torch.float64)
    outputs = _addresses(gradient, energies)
    _kernel().gated_crf(values.data_ptr(), _gated(values, pairs), *outputs, torch.get_num_threads())
    return gradient, energies


class Lattices:
    """The lattices of the images [N, C, H, W], kept to filter many times."""

    def __init__(self, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
        images, colours, height, width = image.shape
        self._shape = images, height, width
        sigmas = sigma_xy, sigma_rgb
        arguments = image.data_ptr(), images, colours, height, width, *sigmas
        try:
            self._kept = _kernel().Lattices(*arguments, torch.get_num_threads())
        except ValueError:
            _explain(image, *sigmas)
            raise

    def filter(self, values: torch.Tensor, order: int = FORWARD) -> torch.Tensor:
        """A applied to values [N, K, H, W], with the images' N, H and W."""
        images, channels, height, width = values.shape
        if (images, height, width) != self._shape:
            raise ValueError(f"values of shape {tuple(values.shape)} for images {self._shape}")
        filtered = torch.empty_like(values)
        threads = torch.get_num_threads()
        self._kept.filter(values.data_ptr(), filtered.data_ptr(), channels, order, threads)
        return filtered

    @property
    def vertices(self) -> int:
        """How many vertices the lattices have in total."""
        return self._kept.vertices


class PointLattices:
    """The lattices of sets of points [B, P, d], d from 2 to 6, kept to filter many times."""

    def __init__(self, points: torch.Tensor) -> None:
        try:
            self._kept = _kernel().PointLattices(points.data_ptr(), *points.shape, torch.get_num_threads())
        except ValueError:
            for own in points:  # the kernel follows the rules of `pack_points`, which explains
                pack_points(own)
            raise

    def filter(self, values: torch.Tensor, order: int = FORWARD) -> torch.Tensor:
        """A applied to values [B, K, P]."""
        filtered = torch.empty_like(values)
        threads = torch.get_num_threads()
        self._kept.filter(values.data_ptr(), filtered.data_ptr(), values.shape[1], order, threads)
        return filtered


def _kernel() -> ModuleType:
    return find_native().needed()


def _explain(image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
    """Raises the NetError for an image that keys do not fit: the kernel follows the rules of `pack`."""
    for colours in image:
        pack(colours, sigma_xy, sigma_rgb)


def _gated(values: torch.Tensor, pairs: Pairs) -> object:
    """What the kernel must know of the pairs; it does not keep their tensors alive."""
    addresses = _addresses(pairs.features, pairs.table, pairs.source, pairs.destination)
    return _kernel().Gated(*addresses, *pairs.sizes(values))


def _addresses(*tensors: torch.Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _sizes(values: torch.Tensor, image: torch.Tensor) -> tuple[int, ...]:
    images, channels, height, width = values.shape
    return images, channels, image.shape[1], height, width
