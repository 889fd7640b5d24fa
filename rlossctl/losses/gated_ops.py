"""`torch.ops.rlossctl.gated_crf`: the Gated CRF loss with its gradient, from one pass over the pairs, and
`torch.ops.rlossctl.gated_filter`, the linear operator behind it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rlossctl.bilateral import dispatch
from rlossctl.bilateral.gated import Pairs
from rlossctl.bilateral.ops import differentiable, operator
from rlossctl.losses.labelled import error

LOSS = "Gated CRF loss"
FILTER, CRF = "rlossctl::gated_filter", "rlossctl::gated_crf"
_PAIRS = "Tensor features, Tensor table, Tensor source, Tensor destination"


@operator(FILTER, f"Tensor values, {_PAIRS}", "Tensor")
def filter_op(values: Tensor, features: Tensor, table: Tensor, source: Tensor, destination: Tensor) -> Tensor:
    """destination_i * sum over j of k_ij source_j values_j, [N, K, h, w]; see `rlossctl.bilateral.gated`."""
    return dispatch.gated_filtered(values.contiguous(), _pairs(features, table, source, destination))


@torch.library.register_fake(FILTER)
def _(values: Tensor, features: Tensor, table: Tensor, source: Tensor, destination: Tensor) -> Tensor:
    return values.new_empty(values.shape)


def _keep_pairs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _filter_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    features, table, source, destination = ctx.saved_tensors
    result = filter_op(upstream, features, table, destination, source) if ctx.needs_input_grad[0] else None
    return result, None, None, None, None


differentiable(filter_op, _keep_pairs, _filter_backward)


@operator(CRF, f"Tensor prob, {_PAIRS}", "(Tensor, Tensor)")
def crf_op(
    prob: Tensor, features: Tensor, table: Tensor, source: Tensor, destination: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum over i, j of destination_i source_j k_ij (1 - <prob_i, prob_j>), and its gradient.

    Args:
        prob: [N, K, h, w]; all tensors float32 or all float64.

    Returns:
        The loss (0-d) and the gradient [N, K, h, w], which is linear in `prob` and itself differentiable.
    """
    gradient, energies = dispatch.gated_crf(prob.contiguous(), _pairs(features, table, source, destination))
    loss = energies.sum()
    if not loss.is_cuda and math.isnan(loss.item()):  # on a device, a check would wait for it
        raise error(
            LOSS, "the loss is NaN", found="NaN in an input", expected="finite images and probabilities"
        )
    return loss.to(prob.dtype), gradient


@torch.library.register_fake(CRF)
def _(
    prob: Tensor, features: Tensor, table: Tensor, source: Tensor, destination: Tensor
) -> tuple[Tensor, Tensor]:
    return prob.new_empty(()), prob.new_empty(prob.shape)


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, output[1])


def _crf_backward(ctx: Any, upstream: Tensor | None, second: Tensor | None) -> tuple[Tensor | None, ...]:
    prob, *pairs, gradient = ctx.saved_tensors
    result = None
    if ctx.needs_input_grad[0] and upstream is not None:
        result = upstream * (_slope(prob, *pairs) if torch.is_grad_enabled() else gradient)
    if ctx.needs_input_grad[0] and second is not None:  # a derivative of the gradient
        result = _slope(second, *pairs) if result is None else result + _slope(second, *pairs)
    return result, None, None, None, None


def _slope(values: Tensor, features: Tensor, table: Tensor, source: Tensor, destination: Tensor) -> Tensor:
    """The gradient of the loss at `values`, in operations that can be differentiated."""
    received = filter_op(values, features, table, source, destination)
    return -(received + filter_op(values, features, table, destination, source))


differentiable(crf_op, _keep_gradient, _crf_backward)
for _name in (FILTER, CRF):
    for _device in ("cpu", "cuda"):
        torch.library.register_autocast(_name, _device, torch.float32)


def _pairs(*tensors: Tensor) -> Pairs:
    return Pairs(*(tensor.contiguous() for tensor in tensors))
