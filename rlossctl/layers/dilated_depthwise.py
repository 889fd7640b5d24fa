"""Dilated depthwise convolution with a fast backward pass on the CPU.

oneDNN has no kernel for the gradient of a dilated depthwise convolution; torch falls back to a slow one.
Every dilation-th row and column of an image make a grid, on which a dilated convolution is an undilated
one. So the backward pass takes the image apart into its grids and puts the gradient together again, as
TensorFlow's space_to_batch does for dilated convolutions. benchmarks/dilated_depthwise.py measures it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Pair = tuple[int, ...]


def suits(x: Tensor, weight: Tensor, stride: Pair, pad: Pair, dilation: Pair, group: int) -> bool:
    """Whether `convolve` computes this convolution, and is worth it.

    Kernels of even size do not: on a grid their padding is half a pixel.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, h, w).
    """
    depthwise = group == x.shape[1] == weight.shape[0]
    same_size = all(
        step == 1 and kernel % 2 == 1 and 2 * border == gap * (kernel - 1)
        for step, border, gap, kernel in zip(stride, pad, dilation, weight.shape[2:], strict=True)
    )
    on_cpu = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return depthwise and same_size and on_cpu and max(dilation) > 1 and torch.is_grad_enabled()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, pad: Pair, dilation: Pair) -> Tensor:
    """F.conv2d with as many groups as channels; only the gradient is computed in another way.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, h, w).
        bias: (C,) or None.
        pad, dilation: of both axes, such that the output has the input's size.

    Returns:
        (N, C, H, W).
    """
    return _OnGrids.apply(x, weight, bias, pad, dilation)


class _OnGrids(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pad: Pair, dilation: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return F.conv2d(x, weight, bias, 1, pad, dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            _grids(gradient, ctx.dilation),
            _grids(x, ctx.dilation),
            weight,
            [x.shape[1]],
            [1, 1],
            [size // 2 for size in weight.shape[2:]],
            [1, 1],
            False,
            [0, 0],
            x.shape[1],
            list(ctx.needs_input_grad[:3]),
        )
        return None if of_x is None else _joined(of_x, x, ctx.dilation), of_weight, of_bias, None, None


def _grids(image: Tensor, dilation: Pair) -> Tensor:
    """The grids of (N, C, H, W), as more images: (dilations N, C, rows, columns), with zeros at their ends.

    Their channels are last, whatever the image's layout: oneDNN's kernels are fastest so.
    """
    n, channels, height, width = image.shape
    rows, columns = -(-height // dilation[0]), -(-width // dilation[1])
    grids = image.new_zeros(dilation[0] * dilation[1] * n, rows, columns, channels).permute(0, 3, 1, 2)
    for grid, part in _pairs(grids, image, dilation):
        grid.copy_(part)
    return grids


def _joined(grids: Tensor, like: Tensor, dilation: Pair) -> Tensor:
    """The image whose grids these are, in the size and layout of `like`."""
    image = torch.empty_like(like)
    for grid, part in _pairs(grids, image, dilation):
        part.copy_(grid)
    return image


def _pairs(grids: Tensor, image: Tensor, dilation: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    """Each grid, without the zeros at its ends, and where it lies in the image."""
    for number, grid in enumerate(grids.unflatten(0, (-1, image.shape[0]))):
        row, column = divmod(number, dilation[1])
        part = image[:, :, row :: dilation[0], column :: dilation[1]]
        yield grid[:, :, : part.shape[2], : part.shape[3]], part
