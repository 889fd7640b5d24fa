"""Smoothed max-marginals of chains of pixels: `torch.ops.rlossctl.chain_marginals`, and its torch twin.

A chain has a score for each labelling: the sum of its pixels' unary scores and of its neighbours' pairwise
scores. The max-marginal of label s at a pixel is smax over the labellings that have s there, where smax(v) =
temperature ln sum exp(v / temperature), or the maximum. One message from each end gives those of
all pixels.

Tensors, all float32 or all float64: unary [N, L, C, W] has chains along the axis L, `stride` of them
interleaved in each of the W lanes; pairwise [N, L - stride, C, C, W] has the scores of (label at p, label at
p + stride).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlossctl.bilateral.choice import find_native
from rlossctl.bilateral.ops import differentiable, operator
from rlossctl.grid.kernel import native

OP = "rlossctl::chain_marginals"
GRADIENT_OP = "rlossctl::chain_gradients"


def chain_marginals(unary: Tensor, pairwise: Tensor, temperature: Tensor | None, stride: int) -> Tensor:
    """The max-marginals of every pixel, [N, L, C, W]; with derivatives for the three tensors.

    Args:
        temperature: 0-d, above 0; None for the maximum.
    """
    if native(unary) and unary.numel():
        warmth = unary.new_zeros(()) if temperature is None else temperature
        found: Tensor = marginals_op(unary, pairwise, warmth, stride)[0]
        return found
    return marginals_twin(unary, pairwise, temperature, stride)


def marginals_twin(unary: Tensor, pairwise: Tensor, temperature: Tensor | None, stride: int) -> Tensor:
    """The same in plain torch operations, `stride` positions at a time."""
    pieces = unary.split(stride, 1)  # [N, stride, C, W], the last one may be shorter
    steps = pairwise.split(stride, 1)[: len(pieces) - 1]  # none after the last piece
    forwards = [pieces[0]]
    for piece, pair in zip(pieces[1:], steps, strict=True):
        before = forwards[-1][:, : piece.shape[1]]
        forwards.append(piece + smooth_maximum(pair + before.unsqueeze(3), temperature, 2))
    backwards = [pieces[-1]]
    for piece, pair in zip(pieces[-2::-1], steps[::-1], strict=True):
        message = smooth_maximum(pair + backwards[-1].unsqueeze(2), temperature, 3)
        size = message.shape[1]  # pixels beyond have no neighbour behind them
        backwards.append(torch.cat([piece[:, :size] + message, piece[:, size:]], 1))
    return torch.cat(forwards, 1) + torch.cat(backwards[::-1], 1) - unary


def smooth_maximum(scores: Tensor, temperature: Tensor | None, axis: int) -> Tensor:
    """temperature ln sum exp(scores / temperature) along an axis; the maximum for None."""
    if temperature is None:
        return scores.max(axis).values
    return temperature * (scores / temperature).logsumexp(axis)


@operator(OP, "Tensor unary, Tensor pairwise, Tensor temperature, int stride", "(Tensor, Tensor, Tensor)")
def marginals_op(
    unary: Tensor, pairwise: Tensor, temperature: Tensor, stride: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Max-marginals and the messages from both ends, each [N, L, C, W], on the CPU in float32.

    Temperature 0 takes the maximum.
    """
    unary, pairwise = unary.contiguous(), pairwise.contiguous()
    found = torch.empty_like(unary), torch.empty_like(unary), torch.empty_like(unary)
    find_native().needed().chain_marginals(
        unary.data_ptr(),
        pairwise.data_ptr(),
        temperature.item(),
        *unary.shape,
        stride,
        *(tensor.data_ptr() for tensor in found),
        torch.get_num_threads(),
    )
    return found


@torch.library.register_fake(OP)
def _(unary: Tensor, pairwise: Tensor, temperature: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    return unary.new_empty(unary.shape), unary.new_empty(unary.shape), unary.new_empty(unary.shape)


@operator(
    GRADIENT_OP,
    "Tensor slope, Tensor unary, Tensor pairwise, Tensor forwards, Tensor backwards, Tensor temperature, "
    "int stride",
    "(Tensor, Tensor, Tensor)",
)
def gradients_op(
    slope: Tensor,
    unary: Tensor,
    pairwise: Tensor,
    forwards: Tensor,
    backwards: Tensor,
    temperature: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of unary, pairwise and temperature from that of the max-marginals."""
    given = [tensor.contiguous() for tensor in (slope, unary, pairwise, forwards, backwards)]
    unary_slope, pairwise_slope = torch.empty_like(given[1]), torch.empty_like(given[2])
    temperature_slope = (
        find_native()
        .needed()
        .chain_gradients(
            *(tensor.data_ptr() for tensor in given),
            temperature.item(),
            *unary.shape,
            stride,
            unary_slope.data_ptr(),
            pairwise_slope.data_ptr(),
            torch.get_num_threads(),
        )
    )
    return unary_slope, pairwise_slope, temperature.new_tensor(temperature_slope)


@torch.library.register_fake(GRADIENT_OP)
def _(
    slope: Tensor,
    unary: Tensor,
    pairwise: Tensor,
    forwards: Tensor,
    backwards: Tensor,
    temperature: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor, Tensor]:
    return unary.new_empty(unary.shape), pairwise.new_empty(pairwise.shape), temperature.new_empty(())


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    unary, pairwise, temperature, ctx.stride = inputs
    ctx.save_for_backward(unary, pairwise, output[1], output[2], temperature)


def _backward(ctx: Any, slope: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if slope is None:
        return None, None, None, None
    found: tuple[Tensor, ...] = gradients_op(slope, *ctx.saved_tensors, ctx.stride)
    return *(x if used else None for x, used in zip(found, ctx.needs_input_grad, strict=False)), None


differentiable(marginals_op, _setup_context, _backward)
