"""Runs the kernel that device, float type and mode ask for; ops.py checks and differentiates."""

from __future__ import annotations

import torch

from rlossctl.bilateral import exact, native, twin
from rlossctl.bilateral.choice import NATIVE, announce, backend
from rlossctl.bilateral.packing import pack

EXACT = "exact"
# How the blur of the lattice runs in each mode; "transposed" is A^T of "lattice", the derivative's operator.
ORDERS = {"lattice": twin.FORWARD, "transposed": twin.REVERSED, "symmetric": twin.BOTH}


def filtered(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str
) -> torch.Tensor:
    """A values: [N, K, H, W] over image [N, C, H, W], contiguous and of one float type and device."""
    if values.numel() == 0:
        return torch.empty_like(values)
    chosen = backend(values.device)
    announce(chosen, values.device)
    if mode == EXACT:
        return exact.exact_filter(values, image, sigma_xy, sigma_rgb)
    packing = pack(image, sigma_xy, sigma_rgb)
    if chosen.name == NATIVE and values.dtype == torch.float32 and mode == "lattice":
        return native.lattice_filter(values, image, sigma_xy, sigma_rgb, packing)
    return twin.lattice_filter(values, image, sigma_xy, sigma_rgb, packing, ORDERS[mode])


def energy(
    values: torch.Tensor,
    mask: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    mode: str,
    factor: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """factor * mask * (A s) and, for each image, sum over k of s_k^T A s_k, with s = values * mask.

    Args:
        mask: [N, 1, H, W]; the others as for `filtered`.

    Returns:
        [N, K, H, W], and [N] in float64: the terms are many and of one sign.
    """
    masked = values * mask
    result = filtered(masked, image, sigma_xy, sigma_rgb, mode)
    # By image, to keep the products small.
    energies = [(s * a).sum(dtype=torch.float64) for s, a in zip(masked, result, strict=True)]
    return result.mul_(mask * factor), torch.stack(energies)
