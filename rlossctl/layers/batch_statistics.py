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


def of_batch(x: Tensor) -> Statistics:
    """The statistics of one batch, (N, C, ...)."""
    variance, mean = torch.var_mean(_precise(x), _all_but_channels(x), correction=0)
    return Statistics(mean, variance, x.numel() // x.shape[1])


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
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _spread(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *(1,) * (x.dim() - 2))
