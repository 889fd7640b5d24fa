"""`torch.ops.rlossctl.densecrf`: loss and gradient in one pass, for torch.compile and autograd."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from rlossctl.bilateral import dispatch, ops
from rlossctl.bilateral.ops import differentiable, operator
from rlossctl.errors import NetError

OP = "rlossctl::densecrf"


@operator(
    OP,
    "Tensor image, Tensor seg, Tensor mask, float sigma_xy, float sigma_rgb, str mode, float upstream",
    "(Tensor, Tensor)",
)
def densecrf_op(
    image: torch.Tensor,
    seg: torch.Tensor,
    mask: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    mode: str,
    upstream: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """-(1/N) sum s^T A s and -(2/N) upstream * mask * (A s); see `rlossctl.losses.densecrf_loss`.

    Args:
        image: [N, C, H, W].
        seg: [N, K, H, W]; image, seg and mask all float32 or all float64.
        mask: [N, 1, H, W].
        upstream: the upstream gradient to expect; the second result already includes it.

    Returns:
        The loss (0-d) and the gradient [N, K, H, W], which is linear in `seg` and itself differentiable.
    """
    _check(image, seg, mask, sigma_xy, sigma_rgb, mode)
    seg, mask, image = seg.contiguous(), mask.contiguous(), image.contiguous()
    factor = -2 * upstream / len(seg)
    gradient, energies = dispatch.energy(seg, mask, image, sigma_xy, sigma_rgb, mode, factor)
    if energies.device.type != "cpu":  # a check would wait for the device
        return (energies.sum() / -len(seg)).to(seg.dtype), gradient
    loss = sum(energies.tolist()) / -len(seg)
    if math.isnan(loss):
        raise error("the loss is NaN", "NaN in the segmentation or the mask", "finite scores")
    return torch.scalar_tensor(loss, dtype=seg.dtype), gradient


@torch.library.register_fake(OP)
def _(
    image: torch.Tensor,
    seg: torch.Tensor,
    mask: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    mode: str,
    upstream: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    _check(image, seg, mask, sigma_xy, sigma_rgb, mode)
    return seg.new_empty(()), seg.new_empty(seg.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    ctx.set_materialize_grads(False)
    image, seg, mask, *ctx.rest = inputs
    ctx.save_for_backward(image, seg, mask)
    ctx.gradient = output[1].detach()  # not saved like the others: it is handed over, not copied


def _backward(
    ctx: Any, upstream: torch.Tensor | None, second: torch.Tensor | None
) -> tuple[torch.Tensor | None, ...]:
    result = None
    if ctx.needs_input_grad[1]:
        result = None if upstream is None else _first(ctx, upstream)
        if second is not None:  # a derivative of the gradient
            term = _through(ctx, second, ops.TRANSPOSE[ctx.rest[2]])
            result = term if result is None else result + term
    return None, result, None, None, None, None, None


def _first(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
    """The gradient of the loss: as kept, computed again, or computed so that it can be differentiated."""
    if torch.is_grad_enabled():
        gradient = _through(ctx, ctx.saved_tensors[1], ctx.rest[2])
    elif ctx.gradient is None:  # handed over by an earlier backward pass over a retained graph
        gradient = densecrf_op(*ctx.saved_tensors, *ctx.rest)[1]
    else:
        gradient = ctx.gradient
    if _is(upstream, ctx.rest[-1]):
        ctx.gradient = None  # the receiver may change it
        return gradient
    return gradient * (upstream / ctx.rest[-1])


def _through(ctx: Any, values: torch.Tensor, mode: str) -> torch.Tensor:
    """-(2/N) expected * mask * (A (mask * values)), in operations that can be differentiated."""
    image, _, mask = ctx.saved_tensors
    sigma_xy, sigma_rgb, _, expected = ctx.rest
    filtered = ops.filter_op(mask * values, image, sigma_xy, sigma_rgb, mode)
    return filtered * (mask * (-2 * expected / len(image)))


def _is(upstream: torch.Tensor, expected: float) -> bool:
    """Whether the upstream gradient is as expected, so that the classes' planes need not be multiplied.

    False if the answer would cost time: on a device, while torch.compile traces, or if the product itself has
    to be differentiated.
    """
    if upstream.device.type != "cpu" or type(upstream) is not torch.Tensor or torch.is_grad_enabled():
        return False
    rounded = np.float32(expected) if upstream.dtype == torch.float32 else expected
    return upstream.item() == float(rounded)


differentiable(densecrf_op, _setup_context, _backward)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast(OP, _device, torch.float32)


def _check(
    image: torch.Tensor,
    seg: torch.Tensor,
    mask: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    mode: str,
) -> None:
    if seg.dim() != 4 or len(seg) == 0 or mask.shape != (len(seg), 1, *seg.shape[2:]):
        found = f"segmentation {tuple(seg.shape)}, mask {tuple(mask.shape)}"
        raise error("segmentation and mask do not fit", found, "(N, K, H, W) and (N, H, W) or (N, 1, H, W)")
    if (mask.dtype, mask.device) != (seg.dtype, seg.device):
        found = f"segmentation {seg.dtype} on {seg.device}, mask {mask.dtype} on {mask.device}"
        raise error("segmentation and mask do not fit", found, "one type and one device")
    ops.check(seg, image, sigma_xy, sigma_rgb, mode)


def error(message: str, found: object, expected: str) -> NetError:
    """The error for wrong arguments of the loss."""
    advice = "see the documentation of rlossctl.losses.densecrf_loss"
    return NetError(message, where="DenseCRF loss", found=found, expected=expected, advice=advice)
