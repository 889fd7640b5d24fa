"""Pooling and SPP, with Caffe's output sizes and divisors; AdaptivePooling, with PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import FLOAT, OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes, register
from rlossctl.outlines.pooling import AdaptivePoolingOutline, PoolingOutline
from rlossctl.prototxt.messages import SPPParameter

LOWEST = torch.finfo(torch.float32).min  # Caffe's start value for a maximum


@computes("Pooling")
class Pooling(PoolingOutline, Layer):
    """Windows over height and width (pooling_layer.cpp).

    Output size ceil((in + 2 pad - kernel) / stride) + 1 (floor with round_mode FLOOR, which older forks spell
    ceil_mode: false); with any padding, a last window that would start beyond the image and its leading
    padding is dropped. MAX never takes padding, and ties go to the first value in row-major order; a second
    top holds the flat index in the plane. AVE divides by the window clipped to the padded image, so padding
    counts. global_pooling pools the whole plane. STOCHASTIC works on non-negative values without padding
    (pooling_layer.cu): TRAIN draws one value of the window with a probability proportional to it; TEST gives
    the mean of the values weighted by themselves; a window of zeros gives 0. (Caffe has it only on the GPU,
    without a gradient in TEST.)
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.is_stochastic:
            return self._pool_stochastic(x)
        if self.is_global:
            return self._pool_global(x)
        y = self._pool_fast(x) if self._torch_agrees() else self._pool_padded(x)
        return y

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.is_stochastic or (self.is_global and self.setup.tops == 2):
            return None
        if self.is_global:
            return graph.node("GlobalMaxPool" if self.is_max else "GlobalAveragePool", x)
        if not (self.floor or any(self.pad) or self._torch_agrees()):
            return self._write_gaps(graph, x)
        # Rounding up is ONNX's as well where no window can start behind the image.
        windows = zip(self.kernel, self.stride, self.pad, strict=True)
        rounds = self.floor or all(pad + stride <= kernel for kernel, stride, pad in windows)
        behind = self.pad if rounds else self._pad_behind()
        if not self.is_max and any(more > pad for more, pad in zip(behind, self.pad, strict=True)):
            return self._write_mean(graph, x, behind)
        window: dict[str, object] = {
            "kernel_shape": self.kernel,
            "strides": self.stride,
            "pads": [*self.pad, *behind],
            "ceil_mode": int(rounds and not self.floor),
        }
        if not self.is_max:
            return graph.node("AveragePool", x, count_include_pad=1, **window)
        if self.setup.tops == 1:
            return graph.node("MaxPool", x, **window)
        y, place = graph.node_with(2, "MaxPool", x, **window)
        return y, self._write_mask(graph, x, place)

    def _pad_behind(self) -> list[int]:
        """Padding behind each axis that gives Caffe's number of windows for every size, rounded down.

        Caffe has ceil((size + 2 pad - kernel) / stride) + 1 windows, but none that starts behind the image,
        of which floor((size + pad - 1) / stride) + 1 do not. `pad + stride - 1` more values give the one
        number, `kernel - 1` the other.
        """
        return [
            min(pad + stride, kernel) - 1
            for kernel, stride, pad in zip(self.kernel, self.stride, self.pad, strict=True)
        ]

    def _write_mean(self, graph: OnnxGraph, x: OnnxValue, behind: Sequence[int]) -> str:
        """Means over windows that end behind the padding: only what is before its end counts."""
        counted = [min(more, pad) for more, pad in zip(behind, self.pad, strict=True)]
        pads = graph.integers("pads", [0, 0, *self.pad, 0, 0, *counted])
        rest = [more - pad for more, pad in zip(behind, counted, strict=True)]
        window = {"kernel_shape": self.kernel, "strides": self.stride, "pads": [0, 0, *rest]}
        return graph.node("AveragePool", graph.node("Pad", x, pads), count_include_pad=0, **window)

    def _write_gaps(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        """Windows that leave gaps. The last may be partly or wholly outside; a mean is of what is inside."""
        pads = graph.integers("pads", [0] * 6 + [stride - 1 for stride in self.stride])
        fill = graph.number("fill", LOWEST if self.is_max else 0)
        window = {"kernel_shape": self.kernel, "strides": self.stride}
        padded = graph.node("Pad", x, pads, fill)
        if not self.is_max:
            inside = self._write_inside(graph, x, pads, fill, window)
            return inside and graph.node("Div", graph.node("AveragePool", padded, **window), inside)
        if self.setup.tops == 1:
            return graph.node("MaxPool", padded, **window)
        y, place = graph.node_with(2, "MaxPool", padded, **window)
        return y, self._write_padded_mask(graph, x, place)

    def _write_inside(
        self, graph: OnnxGraph, x: OnnxValue, pads: str, fill: str, window: dict[str, Any]
    ) -> str | None:
        """The share of each window that is inside; below 0 for one far behind, as Caffe divides."""
        known = x.sizes(2, 4)
        if known is not None:
            rows, columns = (
                self._divisors(size, self._output_size(size, axis), axis, torch.empty(0)) / self.kernel[axis]
                for axis, size in enumerate(known)
            )
            return graph.weight("inside", rows[:, None] * columns[None, :])
        if any(stride > kernel + 1 for kernel, stride in zip(self.kernel, self.stride, strict=True)):
            return None
        return graph.node("AveragePool", graph.node("Pad", graph.ones(x), pads, fill), **window)

    def _write_padded_mask(self, graph: OnnxGraph, x: OnnxValue, place: str) -> str:
        """Places in the padded plane as places in the plane; -1 for a window that misses it."""
        height, width = (graph.sizes(x, axis, axis + 1) for axis in (2, 3))
        down, across = (graph.integers("more", [stride - 1]) for stride in self.stride)
        wide = graph.node("Add", width, across)
        plane = graph.node("Mul", graph.node("Add", height, down), wide)
        place = graph.node("Mod", place, plane)
        row, column = graph.node("Div", place, wide), graph.node("Mod", place, wide)
        own = graph.node("Add", graph.node("Mul", row, width), column)
        inside = graph.node("And", graph.node("Less", row, height), graph.node("Less", column, width))
        return graph.node("Cast", graph.node("Where", inside, own, graph.integers("none", [-1])), to=FLOAT)

    def _write_mask(self, graph: OnnxGraph, x: OnnxValue, place: str) -> str:
        """ONNX counts places through the whole batch, Caffe in each plane, as floats."""
        known = x.sizes(2, 4)
        if known is not None:
            plane = graph.integers("plane", [known[0] * known[1]])
        else:
            plane = graph.node("ReduceProd", graph.sizes(x, 2, 4))
        return graph.node("Cast", graph.node("Mod", place, plane), to=FLOAT)

    def _torch_agrees(self) -> bool:
        """Whether torch's ceil_mode gives Caffe's sizes. It does not if Caffe lets windows start outside."""
        small_pad = all(pad <= kernel // 2 for kernel, pad in zip(self.kernel, self.pad, strict=True))
        inside = any(self.pad) or all(s <= k for k, s in zip(self.kernel, self.stride, strict=True))
        return small_pad and inside

    def _pool_global(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self.is_max:
            return x.mean((2, 3), keepdim=True)
        y, index = x.flatten(2).max(2)
        y = y[..., None, None]
        return (y, index.to(x.dtype)[..., None, None]) if self.setup.tops == 2 else y

    def _pool_stochastic(self, x: Tensor) -> Tensor:
        if self.is_global:
            windows = x.flatten(2).unsqueeze(2)  # [N, C, 1, all values]
            out = [1, 1]
        else:
            windows, out = self._windows(x)  # [N, C, windows, values]
        if self.draws:
            return _draw(windows).unflatten(2, out)
        total = windows.sum(3)
        mean = windows.square().sum(3) / total.where(total > 0, 1)
        return mean.where(total > 0, 0).unflatten(2, out)

    def _windows(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """The values of every window, with zeros outside the image, and the number of windows per axis."""
        out = [self._output_size(size, axis) for axis, size in enumerate(x.shape[2:])]
        ends = [(out[axis] - 1) * self.stride[axis] + self.kernel[axis] for axis in (0, 1)]
        padding = [max(0, end - size) for end, size in zip(ends, x.shape[2:], strict=True)]
        padded = F.pad(x, (0, padding[1], 0, padding[0]))[..., : ends[0], : ends[1]]
        windows = padded.unfold(2, self.kernel[0], self.stride[0]).unfold(3, self.kernel[1], self.stride[1])
        return windows.flatten(4).flatten(2, 3), out

    def _pool_fast(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self.is_max:
            return F.avg_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=not self.floor)
        if self.setup.tops == 1:
            return F.max_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=not self.floor)
        y, index = F.max_pool2d(
            x, self.kernel, self.stride, self.pad, ceil_mode=not self.floor, return_indices=True
        )
        return y, index.to(x.dtype)

    def _pool_padded(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The same with explicit padding, for windows that torch does not support."""
        (top, left), size = self.pad, x.shape[2:]
        out = [self._output_size(size[axis], axis) for axis in (0, 1)]
        bottom, right = (
            max(0, (out[axis] - 1) * self.stride[axis] + self.kernel[axis] - size[axis] - self.pad[axis])
            for axis in (0, 1)
        )
        crop = [(out[axis] - 1) * self.stride[axis] + self.kernel[axis] for axis in (0, 1)]
        fill = LOWEST if self.is_max else 0.0
        padded = F.pad(x, (left, right, top, bottom), value=fill)[..., : crop[0], : crop[1]]
        if self.is_max:
            y, index = F.max_pool2d(padded, self.kernel, self.stride, return_indices=True)
            if self.setup.tops == 1:
                return y
            row, column = index // padded.shape[3] - top, index % padded.shape[3] - left
            inside = (row < size[0]) & (column < size[1])  # -1 for a window that misses the image
            return y, (row * size[1] + column).where(inside, -1).to(x.dtype)
        total = self._sums(padded)
        rows, columns = (self._divisors(size[axis], out[axis], axis, x) for axis in (0, 1))
        return total / (rows[:, None] * columns[None, :])

    def _sums(self, padded: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # torch 2.13's ONNX exporter forgets the divisor
            return F.avg_pool2d(padded, self.kernel, self.stride) * (self.kernel[0] * self.kernel[1])
        return F.avg_pool2d(padded, self.kernel, self.stride, divisor_override=1)

    def _divisors(self, size: int, out: int, axis: int, x: Tensor) -> Tensor:
        start = torch.arange(out, device=x.device) * self.stride[axis] - self.pad[axis]
        end = (start + self.kernel[axis]).clamp(max=size + self.pad[axis])
        return (end - start).to(x.dtype)


@register("SPP")
class SPP(Layer):
    """A pyramid of poolings to 1, 2, 4, ... bins per axis, flattened and joined (spp_layer.cpp).

    Level i has windows of ceil(size / 2^i) without overlap. The part outside the image is padding, with its
    larger half before the image. MAX never takes padding; AVE counts it. A single level keeps the shape
    (N, C, 1, 1). STOCHASTIC is refused, and so is an image too small for its last level.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.spp_param
        self.levels, self.is_max = param.pyramid_height, param.pool == SPPParameter.MAX
        if self.levels < 1:
            raise setup.error("pyramid_height must be positive", found=self.levels)
        if len(setup.bottoms[0]) != 4:
            raise setup.error("needs a 4-D bottom", found=setup.bottoms[0])
        if param.pool == SPPParameter.STOCHASTIC:
            raise setup.error("STOCHASTIC pooling is not available", expected="MAX or AVE")

    def forward(self, x: Tensor) -> Tensor:
        levels = [self._pool(x, 2**level) for level in range(self.levels)]
        return levels[0] if len(levels) == 1 else torch.cat([level.flatten(1) for level in levels], 1)

    def _pool(self, x: Tensor, bins: int) -> Tensor:
        kernel: list[int] = []
        padding: list[int] = []
        for size in reversed(x.shape[2:]):  # F.pad counts from the last axis
            window = -(-size // bins)
            excess = window * bins - size
            before = (excess + 1) // 2
            if before >= window:
                raise self.error("the image is too small for its bins", found=f"{size} for {bins} bins")
            kernel.insert(0, window)
            padding += [before, excess - before]
        if self.is_max:
            return F.max_pool2d(F.pad(x, padding, value=LOWEST), kernel)
        return F.avg_pool2d(F.pad(x, padding), kernel)


@computes("AdaptivePooling")
class AdaptivePooling(AdaptivePoolingOutline, Layer):
    """The means of output_size x output_size bins that cover the plane (PyTorch's AdaptiveAvgPool2d).

    Bin i of b on an axis of n values is floor(i n / b) to ceil((i + 1) n / b): bins overlap if b does not
    divide n. With output_size, every input gives the same size. With a factor, b is ceil(factor n), and at
    least at_least; with a second bottom, which gets no gradient, b is its size.
    """

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        rows, columns = (self._weights(x, axis, reference) for axis in (2, 3))
        return rows @ (x @ columns.T)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, reference: OnnxValue | None = None) -> Written:
        if self.bins == 1:
            return graph.node("GlobalAveragePool", x)
        known, wanted = x.sizes(2, 4), reference.sizes(2, 4) if reference is not None else []
        if known is None or wanted is None:
            return None
        empty, other = torch.empty(1, 1, *known), torch.empty(1, 1, *wanted) if wanted else None
        rows, columns = (self._weights(empty, axis, other) for axis in (2, 3))
        return graph.node(
            "MatMul", graph.weight("rows", rows), graph.node("MatMul", x, graph.weight("columns", columns.T))
        )

    def _weights(self, x: Tensor, axis: int, reference: Tensor | None) -> Tensor:
        """(bins, n): 1 / the bin's length inside the bin, else 0. With a product, sizes may vary in ONNX."""
        size = x.shape[axis]
        bins = self.bins_of(size, axis, None if reference is None else tuple(reference.shape))
        number = torch.arange(bins, device=x.device)[:, None]
        place = torch.arange(size, device=x.device)[None]
        start, end = number * size // bins, ((number + 1) * size + bins - 1) // bins
        return ((place >= start) & (place < end)).to(x.dtype) / (end - start)


def _draw(windows: Tensor) -> Tensor:
    """One value of each window: the first at which the running sum reaches a random share of the total."""
    sums = windows.detach().cumsum(3)
    threshold = torch.rand_like(sums[..., -1:]) * sums[..., -1:]
    chosen = (sums >= threshold).to(torch.uint8).argmax(3, keepdim=True)  # argmax takes the first maximum
    return windows.gather(3, chosen).squeeze(3)
