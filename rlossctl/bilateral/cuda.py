"""Calls the CUDA kernels: outputs and workspace on the tensors' device, work on its current stream.

Nothing here waits for the device or copies to the host, so every call may be recorded in a CUDA graph.
Problems that only the device can see do not raise an error: if an image holds NaN or infinity, or sigma is
too small for the keys (`packing.pack` says so on the CPU), the outputs of all images in the same pass become
NaN. All tensors are contiguous float32 on one device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from rlossctl.bilateral.choice import find_cuda
from rlossctl.bilateral.gated import Pairs
from rlossctl.bilateral.twin import FORWARD


def lattice_filter(
    values: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    order: int = FORWARD,
    deterministic: bool | None = None,
) -> torch.Tensor:
    """A applied to values [N, K, H, W] over image [N, C, H, W], C from 0 to 4.

    Args:
        order: order of the blur's axes: twin.FORWARD as in the original, BACKWARD for the transpose, MEAN for
            the mean of both.
        deterministic: give the same bits in every run; None follows torch.use_deterministic_algorithms. Sums
            then use 64-bit integers, in units of at most 2^-33 of the channel's largest magnitude, and a NaN
            spreads over its whole channel.

    Returns:
        [N, K, H, W].

    Raises:
        ValueError: sizes are beyond the kernel's counters.
        RuntimeError: a launch failed.
    """
    filtered = torch.empty_like(values)
    fixed = _deterministic(deterministic)
    with _current_stream(values.device) as stream:
        size = _kernel().workspace_bytes(*_sizes(values, image), order, fixed)
        workspace = _memory(size, values.device)
        _kernel().bilateral_filter(
            *_addresses(values, image, filtered),
            *_sizes(values, image),
            sigma_xy,
            sigma_rgb,
            order,
            fixed,
            *_span(workspace),
            stream,
        )
    return filtered


def densecrf(
    values: torch.Tensor,
    mask: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    factor: float,
    order: int = FORWARD,
    deterministic: bool | None = None,
    with_gradient: bool = True,
) -> tuple[torch.Tensor | Any, torch.Tensor]:
    """The energies of the DenseCRF loss and their gradient, from one filter pass; s = values * mask.

    Args:
        values: [N, K, H, W]; mask: [N, 1, H, W]; image: [N, C, H, W].
        factor: scales the gradient, -2 / N for the loss.
        with_gradient: False leaves out the gradient.

    Returns:
        factor * mask * (A s), [N, K, H, W], or None; and s_n^T A_n s_n, float64 [N]. The energies are always
        summed in the same order, so they have the same bits in every run if A s does.

    Raises:
        As `lattice_filter`.
    """
    gradient = torch.empty_like(values) if with_gradient else None
    energies = torch.empty(len(values), dtype=torch.float64, device=values.device)
    fixed = _deterministic(deterministic)
    with _current_stream(values.device) as stream:
        size = _kernel().workspace_bytes(*_sizes(values, image), order, fixed)
        workspace = _memory(size, values.device)
        _kernel().densecrf(
            *_addresses(values, mask, image, gradient, energies),
            *_sizes(values, image),
            sigma_xy,
            sigma_rgb,
            order,
            factor,
            fixed,
            *_span(workspace),
            stream,
        )
    return gradient, energies


def exact_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, cutoff: float
) -> torch.Tensor:
    """The sum over j of exp(-|f_i - f_j|^2 / 2) values_j for every pixel i, including j = i: [N, K, H, W].

    Leaves out pairs of 16x16 tiles whose weights are all below `cutoff` (0 keeps all). Every run gives the
    same bits. Pixels that are not finite become NaN, and so does every pixel that they contribute to.
    """
    filtered = torch.empty_like(values)
    sizes = _sizes(values, image)
    with _current_stream(values.device) as stream:
        size = _kernel().exact_workspace_bytes(*sizes)
        workspace = _memory(size, values.device)
        _kernel().exact_filter(
            *_addresses(values, image, filtered),
            *sizes,
            sigma_xy,
            sigma_rgb,
            cutoff,
            *_span(workspace),
            stream,
        )
    return filtered


def gated_filter(values: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """`gated.gated_filter`: [N, K, h, w]. Every run gives the same bits."""
    filtered = torch.empty_like(values)
    with _current_stream(values.device) as stream:
        gated = _gated(values, pairs)
        workspace = _memory(gated.workspace_bytes(), values.device)
        _kernel().gated_filter(values.data_ptr(), gated, filtered.data_ptr(), *_span(workspace), stream)
    return filtered


def gated_crf(values: torch.Tensor, pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """`gated.gated_crf`: the gradient [N, K, h, w], and the energies [N] in float64; the same bits always."""
    gradient = torch.empty_like(values)
    energies = torch.empty(len(values), dtype=torch.float64, device=values.device)
    with _current_stream(values.device) as stream:
        gated = _gated(values, pairs)
        workspace = _memory(gated.workspace_bytes(), values.device)
        outputs = _addresses(gradient, energies)
        _kernel().gated_crf(values.data_ptr(), gated, *outputs, *_span(workspace), stream)
    return gradient, energies


def _gated(values: torch.Tensor, pairs: Pairs) -> Any:
    """What the kernel must know of the pairs; it does not keep their tensors alive."""
    addresses = _addresses(pairs.features, pairs.table, pairs.source, pairs.destination)
    return _kernel().Gated(*addresses, *pairs.sizes(values))


class Lattices:
    """The lattices of the images [N, C, H, W], C from 0 to 4, kept to filter many times.

    They are built on the current stream, in memory for the most vertices that the images can have: some 500
    bytes per pixel with three colours, for as long as the object lives. A large batch is cut into parts. As
    with any tensor, another stream must wait for the one that built the lattices before it filters. A CUDA
    graph that filters needs the object for as long as the graph is replayed.

    Raises:
        As `lattice_filter`.
    """

    def __init__(self, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
        self._shape = tuple(image.shape)
        self._part = _kernel().kept_images(*image.shape)  # how many images share a lattice's memory
        with _current_stream(image.device) as stream:
            parts = image.split(self._part)
            self._kept = [_build(images, sigma_xy, sigma_rgb, stream) for images in parts]

    def filter(
        self, values: torch.Tensor, order: int = FORWARD, deterministic: bool | None = None
    ) -> torch.Tensor:
        """A applied to values [N, K, H, W], with the images' N, H and W; the rest as for `lattice_filter`."""
        images, colours, height, width = self._shape
        if (len(values), *values.shape[2:]) != (images, height, width):
            raise ValueError(f"values of shape {tuple(values.shape)} for images {(images, height, width)}")
        filtered = torch.empty_like(values)
        if values.numel() == 0:
            return filtered
        fixed = _deterministic(deterministic)
        parts = zip(self._kept, values.split(self._part), filtered.split(self._part), strict=True)
        with _current_stream(values.device, *self._kept) as stream:
            for kept, part, out in parts:
                sizes = len(part), values.shape[1], colours, height, width
                size = _kernel().rows_workspace_bytes(*sizes, order, fixed)
                workspace = _memory(size, values.device)
                _kernel().apply_lattice(
                    *_addresses(part, out),
                    *sizes,
                    order,
                    fixed,
                    *_span(kept),
                    *_span(workspace),
                    stream,
                )
        return filtered


def _build(image: torch.Tensor, sigma_xy: float, sigma_rgb: float, stream: int) -> torch.Tensor:
    """The memory of one lattice for all images [N, C, H, W]."""
    kept = _memory(_kernel().lattice_bytes(*image.shape), image.device)
    _kernel().build_lattice(image.data_ptr(), *image.shape, sigma_xy, sigma_rgb, *_span(kept), stream)
    return kept


def _kernel() -> ModuleType:
    return find_cuda().needed()


@contextmanager
def _current_stream(device: torch.device, *kept: torch.Tensor) -> Iterator[int]:
    """Makes `device` current; gives the address of its current stream.

    Memory in `kept` may come from another stream: if it is freed, it is not reused before this stream is done
    with it.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream(device)
        for memory in kept:
            memory.record_stream(stream)
        yield stream.cuda_stream


def _memory(size: int, device: torch.device) -> torch.Tensor:
    """`size` bytes from torch's allocator, which reuses them only for later work on the same stream."""
    return torch.empty(size, dtype=torch.uint8, device=device)


def _span(memory: torch.Tensor) -> tuple[int, int]:
    return memory.data_ptr(), memory.numel()


def _addresses(*tensors: torch.Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _sizes(values: torch.Tensor, image: torch.Tensor) -> tuple[int, int, int, int, int]:
    images, channels, height, width = values.shape
    return images, channels, image.shape[1], height, width


def _deterministic(asked: bool | None) -> bool:
    return torch.are_deterministic_algorithms_enabled() if asked is None else asked
