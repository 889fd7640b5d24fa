"""Mean and variance of a batch per channel, also of a batch that several processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """Mean and biased variance per channel, and the number of values that they are of."""

    mean: Tensor
    variance: Tensor
    values: float


def normalized_batch(
    x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float
) -> tuple[Tensor, Statistics]:
    """One batch, normalised with its own statistics, then scaled and shifted per channel.

    Args:
        x: (N, C, ...). Unlike F.batch_norm it may have a single value per channel, which is its own mean.
        scale, shift: (C,).

    Returns:
        (N, C, ...) in x's type, and the statistics in at least float32, without a gradient.
    """
    values = x.numel() // x.shape[1]
    # With a momentum of 1 torch leaves its statistics here, so that no second pass is needed; it divides the
    # variance by values - 1.
    mean, unbiased = (x.new_zeros(x.shape[1], dtype=_precision(x)) for _ in range(2))
    y = torch.batch_norm(x, scale, shift, mean, unbiased, True, 1.0, eps, False)
    variance = unbiased * ((values - 1) / values) if values > 1 else torch.zeros_like(mean)
    return y, Statistics(mean, variance, values)


def of_shared_batch(x: Tensor, total: Callable[[Tensor], Tensor]) -> Statistics:
    """Those of all processes' batches together, which may differ in size; autograd goes through them.

    In two passes, as the difference of E[x^2] and E[x]^2 loses digits.

    Args:
        total: the sum over the processes.
    """
    axes, x = _all_but_channels(x), _precise(x)
    own = torch.full((1,), x.numel() / x.shape[1], dtype=x.dtype, device=x.device)
    sums = total(torch.cat([x.sum(axes), own]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    squares = total((x - _spread(mean, x)).square().sum(axes))
    return Statistics(mean, squares / count, count.item())


def normalized(x: Tensor, of: Statistics, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) per channel."""
    y = (_precise(x) - _spread(of.mean, x)) * _spread((of.variance + eps).rsqrt(), x)
    return y.to(x.dtype)


def _precise(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(_precision(x))


def _precision(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _spread(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *(1,) * (x.dim() - 2))
