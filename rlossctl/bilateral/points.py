"""The filter for anything that has features: pixels with depth or normals, point clouds, moments in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from rlossctl.bilateral import point_kernels
from rlossctl.bilateral.ops import TRANSPOSE, working_type
from rlossctl.bilateral.point_ops import check, error, point_op


def filter(features: torch.Tensor, values: torch.Tensor, mode: str = "lattice") -> torch.Tensor:
    """Filters values at points: each becomes the sum of all, weighted by exp(-|f_i - f_j|^2 / 2).

    The weights are not normalised and include the point itself; divide by the filtered ones for a mean. The
    modes are those of `bilateral_filter`, which this function equals for the features x / sigma_xy, y /
    sigma_xy and colours / sigma_rgb of an image's pixels. docs/filter.md says how near the lattice comes to
    the exact sum. The gradient with respect to `values` is the transpose applied to the upstream gradient;
    `features` get none.

    Args:
        features: [N, d] or [B, N, d], d from 1 to 6, each divided by its standard deviation.
        values: [N, K] or [B, N, K] on the same device; half types are computed and returned in float32.
        mode: "lattice", "symmetric" (the mean of the lattice and its transpose) or "exact" (all pairs).

    Returns:
        The filtered values, in the shape of `values`; the inputs are not changed.

    Raises:
        NetError: shapes or devices do not fit; the mode is unknown; features are NaN, infinite or (for the
            lattice) too far apart; or a torch.export or ONNX export is running. On CUDA, where the host does
            not wait, wrong features give NaN instead.
    """
    points, planes = _points(features, values), _planes(values)
    return _like(values, point_op(planes, points.to(planes.dtype), mode))


@dataclass(frozen=True)
class Lattice:
    """The filter for given features, built once and applied many times, with gradients for the values.

    `Lattice.of(features, mode).filter(values)` is `filter(features, values, mode)`.

    Attributes:
        points: [B, N, d], the features.
        mode: as for `filter`.
        apply: filters [B, K, N] in a mode.
    """

    points: torch.Tensor
    mode: str
    apply: Callable[[torch.Tensor, str], torch.Tensor]

    @classmethod
    def of(cls, features: torch.Tensor, mode: str = "lattice") -> Lattice:
        """Builds the lattice of features [N, d] or [B, N, d]; raises NetError as `filter`."""
        points = _points(features, features)
        points = points.to(working_type(points)).contiguous()
        check(points.transpose(1, 2), points, mode)
        if points.numel() == 0:
            return cls(points, mode, lambda values, _: torch.empty_like(values))
        return cls(points, mode, point_kernels.prepare(points, mode))

    def filter(self, values: torch.Tensor) -> torch.Tensor:
        """The filtered values, [N, K] or [B, N, K]; raises NetError if they do not fit the features."""
        _points(self.points if values.dim() == 3 else self.points[0], values)
        planes = _planes(values)
        check(planes, self.points, self.mode)
        filtered: torch.Tensor = _Kept.apply(planes, self.apply, self.mode)
        return _like(values, filtered)


class _Kept(torch.autograd.Function):
    """A kept lattice applied to values [B, K, N]; its derivative is the transposed one."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, apply: Callable[[torch.Tensor, str], torch.Tensor], mode: str
    ) -> torch.Tensor:
        ctx.filter, ctx.mode = apply, mode
        return apply(values, mode) if values.numel() else torch.empty_like(values)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _Kept.apply(upstream[0], ctx.filter, TRANSPOSE[ctx.mode]), None, None


def _points(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The features as [B, N, d], detached."""
    dims = features.dim(), values.dim()
    if dims not in ((2, 2), (3, 3)) or not (features.is_floating_point() and values.is_floating_point()):
        raise error(
            "these are not features and values of points",
            f"features {tuple(features.shape)} {features.dtype}, values {tuple(values.shape)} {values.dtype}",
            "floating-point tensors (N, d) and (N, K), or (B, N, d) and (B, N, K)",
            "reshape them, or convert them with .to(dtype)",
        )
    return features.detach() if features.dim() == 3 else features.detach()[None]


def _planes(values: torch.Tensor) -> torch.Tensor:
    """[N, K] or [B, N, K] as [B, K, N] in the type that is computed."""
    batch = values if values.dim() == 3 else values[None]
    return batch.to(working_type(values)).transpose(1, 2)


def _like(values: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """[B, K, N] in the shape of `values`."""
    return planes.transpose(1, 2).reshape(values.shape)
