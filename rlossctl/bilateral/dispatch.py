"""Runs the kernel for a device, float type and mode; ops.py checks and differentiates."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch

from rlossctl.bilateral import cuda, exact, gated, native, twin
from rlossctl.bilateral.choice import CUDA, NATIVE, TWIN, announce, backend
from rlossctl.bilateral.gated import Pairs
from rlossctl.bilateral.packing import colour_range

EXACT = "exact"
# The order of the lattice's blur in each mode; "transposed" is A^T of "lattice", used for the derivative.
ORDERS = {"lattice": twin.FORWARD, "transposed": twin.BACKWARD, "symmetric": twin.MEAN}


def filtered(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str
) -> torch.Tensor:
    """A applied to values [N, K, H, W] over image [N, C, H, W]; both contiguous, of one type and device."""
    if values.numel() == 0:
        return torch.empty_like(values)
    kernel = _kernel(image)
    sigmas = sigma_xy, sigma_rgb
    if mode == EXACT:
        return _exact(kernel, values, image, *sigmas)
    return _lattice_module(kernel).lattice_filter(values, image, *sigmas, ORDERS[mode])


def energy(
    values: torch.Tensor,
    mask: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    mode: str,
    factor: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """factor * mask * (A s) and, for each image, the sum over k of s_k^T A s_k, where s = values * mask.

    Args:
        mask: [N, 1, H, W]; the others as for `filtered`.

    Returns:
        [N, K, H, W], and [N] in float64, because the sum has many terms of one sign.
    """
    kernel = _kernel(image) if mode != EXACT and values.numel() else TWIN
    if kernel == CUDA:
        return cuda.densecrf(values, mask, image, sigma_xy, sigma_rgb, factor, ORDERS[mode])
    if kernel == NATIVE:
        return native.densecrf(values, mask, image, sigma_xy, sigma_rgb, factor, ORDERS[mode])
    masked = values * mask
    result = filtered(masked, image, sigma_xy, sigma_rgb, mode)
    # One image at a time, to keep the products small.
    energies = [(s * a).sum(dtype=torch.float64) for s, a in zip(masked, result, strict=True)]
    return result.mul_(mask * factor), torch.stack(energies)


def prepare(
    image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`filtered` for these images; everything that does not depend on the values is computed now."""
    kernel = _kernel(image)
    sigmas = sigma_xy, sigma_rgb
    if mode == EXACT or 0 in (len(image), *image.shape[2:]):
        return lambda values: filtered(values, image, *sigmas, mode)
    lattices = _lattice_module(kernel).Lattices(image, *sigmas)
    return lambda values: lattices.filter(values, ORDERS[mode])


def gated_filtered(values: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """`gated.gated_filter` by the kernel for the values' device; all tensors contiguous."""
    if values.numel() == 0:
        return torch.empty_like(values)
    return _gated_module(_kernel(values)).gated_filter(values, pairs)


def gated_crf(values: torch.Tensor, pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """`gated.gated_crf` by the kernel for the values' device; all tensors contiguous."""
    return _gated_module(_kernel(values) if values.numel() else TWIN).gated_crf(values, pairs)


def _gated_module(kernel: str) -> ModuleType:
    """The module with the kernel's gated_filter and gated_crf."""
    return {CUDA: cuda, NATIVE: native, TWIN: gated}[kernel]


def _lattice_module(kernel: str) -> ModuleType:
    """The module with the kernel's lattice_filter and Lattices."""
    return {CUDA: cuda, NATIVE: native, TWIN: twin}[kernel]


def _exact(
    kernel: str, values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float
) -> torch.Tensor:
    if image.device.type == "cpu":  # a check on another device would wait for it
        colour_range(image)
    cutoff = exact.cutoff(values)
    if kernel == CUDA:
        return cuda.exact_filter(values, image, sigma_xy, sigma_rgb, cutoff)
    if kernel == NATIVE:
        return native.exact_filter(values, image, sigma_xy, sigma_rgb, cutoff)
    return exact.exact_filter(values, image, sigma_xy, sigma_rgb, cutoff)


def _kernel(image: torch.Tensor) -> str:
    """The name of the kernel for tensors like `image`; warns if a better one is missing."""
    if image.dtype == torch.float64:
        return TWIN
    chosen = backend(image.device)
    announce(chosen, image.device)
    return chosen.name
