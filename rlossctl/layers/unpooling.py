"""Unpooling of DeconvNet: restores the size of a pooled blob."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.layers.segnet import put_back
from rlossctl.net.layer import Layer, Setup, Shape
from rlossctl.net.outline import Top
from rlossctl.net.registry import register
from rlossctl.outlines.pooling import window_pair
from rlossctl.prototxt.messages import UnpoolingParameter


@register("Unpooling", source="DeconvNet", bottoms=(1, 2))
class Unpooling(Layer):
    """Zeros, with each value of bottom 0 at its index from bottom 1, the mask of a MAX Pooling layer
    (unpooling_layer.cpp of HyeonwooNoh/caffe).

    Without a mask the value of window (i, j) goes to the window's first place, (stride i, stride j). AVE
    writes the value divided by the number of places to every place of the window, TILE the value itself; if
    windows overlap, the values add up. Output size: unpool_size, or unpool_h and unpool_w, else the larger of
    stride (in - 1) + kernel and stride in + 1; windows are clipped to it. Padding is refused, as in the
    original. Not reproduced: the original's AVE and TILE add to the old contents of the top's memory (here:
    to 0).
    """

    compilable = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.unpooling_param, setup.bottoms[0]
        if len(shape) != 4 or (len(setup.bottoms) == 2 and setup.bottoms[1] != shape):
            raise setup.error("needs 4-D bottoms of the same shape", found=setup.bottoms)
        if param.pad or param.pad_h or param.pad_w:
            raise setup.error("has no padding", found="pad", expected="pad: 0")
        self.method = param.unpool
        self.kernel = window_pair(setup, param, "kernel_size", "kernel", None)
        self.stride = window_pair(setup, param, "stride", "stride", 1)
        self.size = self._stated_size(param)

    def _stated_size(self, param: UnpoolingParameter) -> tuple[int, int] | None:
        if param.HasField("unpool_size") and (param.HasField("unpool_h") or param.HasField("unpool_w")):
            raise self.error("unpool_size excludes unpool_h and unpool_w", expected="one of them")
        if param.HasField("unpool_size"):
            return param.unpool_size, param.unpool_size
        if param.HasField("unpool_h") and param.HasField("unpool_w"):
            return param.unpool_h, param.unpool_w
        return None

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        x, *mask = bottoms
        fits = len(x) == 4 and mask in ([], [x]) and min(*x[2:], *self._output_size(x)) > 0
        return (Top((*x[:2], *self._output_size(x))),) if fits else None

    def _output_size(self, shape: Sequence[int]) -> tuple[int, int]:
        if self.size is not None:
            return self.size
        height, width = (
            max(stride * (size - 1) + kernel, stride * size + 1)
            for size, stride, kernel in zip(shape[2:], self.stride, self.kernel, strict=True)
        )
        return height, width

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        height, width = self._output_size(x.shape)
        if self.method == UnpoolingParameter.MAX:
            index = self._first_places(x, height, width) if mask is None else mask
            return put_back(self, x, index, (height, width), "set unpool_size, or unpool_h and unpool_w,")
        if self.method == UnpoolingParameter.AVE:
            rows, columns = (self._extents(x, axis, size) for axis, size in ((0, height), (1, width)))
            x = x / (rows[:, None] * columns)
        return self._tile(x, height, width)

    def _first_places(self, x: Tensor, height: int, width: int) -> Tensor:
        rows = (torch.arange(x.shape[2], device=x.device) * self.stride[0]).clamp(max=height - 1)
        columns = (torch.arange(x.shape[3], device=x.device) * self.stride[1]).clamp(max=width - 1)
        return (rows[:, None] * width + columns).expand(x.shape)

    def _extents(self, x: Tensor, axis: int, size: int) -> Tensor:
        """The number of places of each window inside the output."""
        start = torch.arange(x.shape[2 + axis], device=x.device) * self.stride[axis]
        return ((start + self.kernel[axis]).clamp(max=size) - start).clamp(min=1).to(x.dtype)

    def _tile(self, x: Tensor, height: int, width: int) -> Tensor:
        ones = x.new_ones((1, 1, *self.kernel))
        spread = F.conv_transpose2d(x.flatten(0, 1).unsqueeze(1), ones, stride=self.stride)
        padding = (0, max(0, width - spread.shape[3]), 0, max(0, height - spread.shape[2]))
        return F.pad(spread, padding)[:, 0, :height, :width].unflatten(0, x.shape[:2])

    def window(self) -> tuple[float, float]:
        return 1.0, 1 / self.stride[-1]
