"""The calls into the CUDA kernels: outputs and workspace on the tensors' device, work on its current stream.

Nothing here waits for the device or copies to the host, so every call may be recorded in a CUDA graph. What
only the device can know raises no error: where the image holds NaN or infinity, or sigma is too small for the
keys (`packing.pack` says so on the CPU), the lattice's outputs become NaN. All tensors are contiguous float32
on one device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rlossctl.bilateral.choice import cuda_module
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
        order: of the blur's axes: twin.FORWARD as the original, BACKWARD for the transpose, MEAN of both.
        deterministic: gives the same bits in every run; None follows torch.use_deterministic_algorithms. Sums
            run over 64-bit integers then, in units of at most 2^-33 of the channel's largest magnitude, and a
            NaN in a channel spreads over all of it.

    Returns:
        [N, K, H, W].

    Raises:
        ValueError: sizes beyond the kernel's counters.
        RuntimeError: a launch failed.
    """
    filtered = torch.empty_like(values)
    fixed = _deterministic(deterministic)
    with _current_stream(values.device) as stream:
        memory, size = _lattice_workspace(values, image, order, fixed)
        cuda_module().bilateral_filter(
            *_addresses(values, image, filtered),
            *_sizes(values, image),
            sigma_xy,
            sigma_rgb,
            order,
            fixed,
            memory.data_ptr(),
            size,
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
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The energies of the DenseCRF loss and their gradient from one filter pass, with s = values * mask.

    Args:
        values: [N, K, H, W]; mask: [N, 1, H, W]; image: [N, C, H, W].
        factor: of the gradient, -2 / N for the loss.
        with_gradient: False leaves the gradient out.

    Returns:
        factor * mask * (A s), [N, K, H, W], or None; and s_n^T A_n s_n, float64 [N]. The energies are added
        up in one order, so that they have the same bits in every run where A s has them.

    Raises:
        As `lattice_filter`.
    """
    gradient = torch.empty_like(values) if with_gradient else None
    energies = torch.empty(len(values), dtype=torch.float64, device=values.device)
    fixed = _deterministic(deterministic)
    with _current_stream(values.device) as stream:
        memory, size = _lattice_workspace(values, image, order, fixed)
        cuda_module().densecrf(
            *_addresses(values, mask, image, gradient, energies),
            *_sizes(values, image),
            sigma_xy,
            sigma_rgb,
            order,
            factor,
            fixed,
            memory.data_ptr(),
            size,
            stream,
        )
    return gradient, energies


def exact_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, cutoff: float
) -> torch.Tensor:
    """sum over j of exp(-|f_i - f_j|^2 / 2) values_j for every pixel i, itself included: [N, K, H, W].

    Pairs of 16x16 tiles whose weights are all below `cutoff` are left out (0: none). The same bits in every
    run. Pixels that are not finite become NaN, and with them whatever they weigh.
    """
    filtered = torch.empty_like(values)
    sizes = _sizes(values, image)
    with _current_stream(values.device) as stream:
        size = cuda_module().exact_workspace_bytes(*sizes)
        memory = torch.empty(size, dtype=torch.uint8, device=values.device)
        cuda_module().exact_filter(
            *_addresses(values, image, filtered),
            *sizes,
            sigma_xy,
            sigma_rgb,
            cutoff,
            memory.data_ptr(),
            size,
            stream,
        )
    return filtered


@contextmanager
def _current_stream(device: torch.device) -> Iterator[int]:
    """Makes `device` the current one; gives the address of its current stream."""
    with torch.cuda.device(device):
        yield torch.cuda.current_stream(device).cuda_stream


def _lattice_workspace(
    values: torch.Tensor, image: torch.Tensor, order: int, deterministic: bool
) -> tuple[torch.Tensor, int]:
    """Memory of torch's allocator, which gives it to later work on the same stream alone."""
    size = cuda_module().workspace_bytes(*_sizes(values, image), order, deterministic)
    return torch.empty(size, dtype=torch.uint8, device=values.device), size


def _addresses(*tensors: torch.Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _sizes(values: torch.Tensor, image: torch.Tensor) -> tuple[int, int, int, int, int]:
    images, channels, height, width = values.shape
    return images, channels, image.shape[1], height, width


def _deterministic(asked: bool | None) -> bool:
    return torch.are_deterministic_algorithms_enabled() if asked is None else asked
