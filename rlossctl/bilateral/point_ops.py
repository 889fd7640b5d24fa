"""`torch.ops.rlossctl.point_filter`: the filter of points as an operator for torch.compile and autograd.

As for images (ops.py), the derivative with respect to the values is the transpose, which is the operator
again.
"""

from __future__ import annotations

from typing import Any

import torch

from rlossctl.bilateral import point_kernels
from rlossctl.bilateral.limits import MAX_FEATURES
from rlossctl.bilateral.ops import MODES, TRANSPOSE, differentiable, operator, refuse_export, working_type
from rlossctl.errors import NetError

OP = "rlossctl::point_filter"


@operator(OP, "Tensor values, Tensor points, str mode", "Tensor")
def point_op(values: torch.Tensor, points: torch.Tensor, mode: str) -> torch.Tensor:
    """The filter applied to values [B, K, P] at points [B, P, d], both float32 or both float64.

    The mode is one of MODES or "transposed".
    """
    check(values, points, mode)
    if values.numel() == 0:
        return torch.empty_like(values)
    return point_kernels.prepare(points.contiguous(), mode)(values.contiguous(), mode)


@torch.library.register_fake(OP)
def _(values: torch.Tensor, points: torch.Tensor, mode: str) -> torch.Tensor:
    check(values, points, mode)
    return values.new_empty(values.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.set_materialize_grads(False)
    _, points, ctx.mode = inputs
    ctx.save_for_backward(points)


def _backward(ctx: Any, upstream: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    if upstream is None or not ctx.needs_input_grad[0]:
        return None, None, None
    (points,) = ctx.saved_tensors
    return point_op(upstream, points, TRANSPOSE[ctx.mode]), None, None


differentiable(point_op, _setup_context, _backward)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast(OP, _device, torch.float32)


def check(values: torch.Tensor, points: torch.Tensor, mode: str) -> None:
    """Raises a NetError if shapes, types or the mode do not allow filtering, and during an export."""
    refuse_export()
    if mode not in TRANSPOSE:
        raise error("does not know this mode", repr(mode), ", ".join(MODES), "see docs/filter.md")
    if not 1 <= points.shape[-1] <= MAX_FEATURES:
        raise error(
            "cannot filter in so many dimensions",
            f"{points.shape[-1]} features",
            f"1 to {MAX_FEATURES}",
            "leave out features, or project them to fewer",
        )
    if (len(values), values.shape[-1]) != tuple(points.shape[:2]):
        raise error(
            "features and values do not fit together",
            f"features {tuple(points.shape)}, values of {len(values)} sets with {values.shape[-1]} points",
            "as many sets and points of both",
            "features are (N, d) and values (N, K), or (B, N, d) and (B, N, K)",
        )
    same = values.dtype == points.dtype and values.device == points.device
    if not same or working_type(values) != values.dtype:
        raise error(
            "features and values must have the same type and device",
            f"features {points.dtype} on {points.device}, values {values.dtype} on {values.device}",
            "two float32 or two float64 tensors on one device",
            "convert them with .to(device, dtype)",
        )


def error(message: str, found: object, expected: str, advice: str) -> NetError:
    """The error for wrong arguments of the filter of points."""
    return NetError(message, where="filter of points", found=found, expected=expected, advice=advice)
