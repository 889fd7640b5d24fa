"""Runs the filter of points by device, float type and mode; point_ops.py checks and differentiates.

Points are [B, P, d], d from 1 to 6; values [B, K, P] of the same float type and device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rlossctl.bilateral import cuda_points, dispatch, native, twin
from rlossctl.bilateral.choice import CUDA, NATIVE, TWIN, announce, backend

_WEIGHTS_AT_ONCE = 1 << 22


def prepare(points: torch.Tensor, mode: str) -> Callable[[torch.Tensor, str], torch.Tensor]:
    """A function of values and "lattice", "transposed", "symmetric" or "exact".

    What does not depend on the values is computed now; `mode` says whether that is the lattice.
    """
    if mode == dispatch.EXACT:
        return lambda values, _: exact(points, values)
    if points.shape[-1] == 1:  # a line in the plane: the lattice is built from two features on
        points = torch.nn.functional.pad(points, (0, 1))
    lattices = _kernel(points)(points.contiguous())
    return lambda values, own: lattices.filter(values.contiguous(), dispatch.ORDERS[own])


def exact(points: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The sum over j of exp(-|f_i - f_j|^2 / 2) values_j, j = i included; some rows of weights at a time."""
    filtered = torch.empty_like(values)
    for own, given, out in zip(points, values, filtered, strict=True):
        rows = max(1, _WEIGHTS_AT_ONCE // max(1, len(own)))
        for start in range(0, len(own), rows):
            distance = own.new_zeros(min(rows, len(own) - start), len(own))
            for feature in own.t():
                distance += (feature[start : start + rows, None] - feature).square()
            out[:, start : start + rows] = given @ (distance / -2).exp_().t()
    return filtered


def _kernel(points: torch.Tensor) -> type:
    """The class of kept lattices for points like these; warns if a better one is missing."""
    if points.dtype == torch.float64:
        return twin.PointLattices
    chosen = backend(points.device)
    announce(chosen, points.device)
    return {
        CUDA: cuda_points.PointLattices,
        NATIVE: native.PointLattices,
        TWIN: twin.PointLattices,
    }[chosen.name]
