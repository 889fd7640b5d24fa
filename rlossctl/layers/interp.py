"""Interp of the DeepLab fork: bilinear resizing, with or without aligned corners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup, only_sized
from rlossctl.net.onnx_graph import LAST, OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.net.registry import register


@register("Interp", source="rloss", bottoms=(1, 2))
class Interp(Layer):
    """Bilinear, corner aligned: source = target * (in - 1) / (out - 1) (interp_layer.cpp, util/interp.cpp).

    pad_beg and pad_end (<= 0) crop first. The output size follows the first rule whose fields are set:
    shrink_factor s: (e - 1) / s + 1; zoom_factor z: e + (e - 1)(z - 1); height and width; shrink, then zoom.
    Labels go through the same code: this is exact subsampling only if s divides e - 1. Two additions of ours,
    for PyTorch's networks: a second bottom sets the size and gets no gradient; align_corners: false treats
    pixels as areas, source = (target + 1/2) * in / out - 1/2, with the border repeated. A third: factor f
    makes e values ceil(f e), and at least `at_least`.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.interp_param
        self.begin, self.end = -param.pad_beg, -param.pad_end
        if self.begin < 0 or self.end < 0:
            raise setup.error(
                "pads can only crop",
                found=f"pad_beg {param.pad_beg}, pad_end {param.pad_end}",
                expected="<= 0",
            )
        if param.interp_type != "bilinear":
            raise setup.error(
                "interp_type is not available", found=param.interp_type, expected="bilinear, PSPNet's default"
            )
        self.corners = param.align_corners
        self.shrink = param.shrink_factor if param.HasField("shrink_factor") else None
        self.zoom = param.zoom_factor if param.HasField("zoom_factor") else None
        self.size = (
            (param.height, param.width) if param.HasField("height") and param.HasField("width") else None
        )
        self.factor = param.factor if param.HasField("factor") else None
        self.rounds_size = self.factor is not None
        self.least = param.at_least
        every = (self.shrink, self.zoom, self.size, self.factor)
        rules: list[object] = [value for value in every if value is not None]
        if self.factor is not None and (len(rules) > 1 or not 0 < self.factor < math.inf):
            raise setup.error("factor must be positive, and the only size", found=rules)
        if len(setup.bottoms) == 2:
            self._check_reference(setup, rules)
        elif not rules:
            raise setup.error(
                "needs shrink_factor, zoom_factor, factor, height and width, or a second bottom"
            )
        elif not self.corners and rules != [self.size]:
            raise setup.error("align_corners: false needs height and width, or a second bottom")
        if any(value is not None and value < 1 for value in (self.shrink, self.zoom)):
            raise setup.error("factors must be positive", found=f"shrink {self.shrink}, zoom {self.zoom}")

    def _check_reference(self, setup: Setup, rules: list[object]) -> None:
        if rules:
            raise setup.error(
                "already has a size, from its second bottom", found=rules, expected="no size of its own"
            )
        if any(len(shape) != 4 for shape in setup.bottoms):
            raise setup.error("needs 4-D bottoms", found=setup.bottoms)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        if self.begin or self.end:
            x = x[..., self.begin : x.shape[2] - self.end, self.begin : x.shape[3] - self.end]
        if reference is None:
            size = [self.output_size(x.shape[2], 0), self.output_size(x.shape[3], 1)]
        else:
            size = list(reference.shape[2:])
        if x.is_cuda and x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            enlarged: Tensor = Resized.apply(x, tuple(size), self.corners)
            return enlarged
        return resized(x, size, self.corners)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, reference: OnnxValue | None = None) -> Written:
        if self.factor is not None:
            return None
        y: OnnxInput = x
        if self.begin or self.end:
            starts = graph.integers("starts", [self.begin] * 2)
            ends = graph.integers("ends", [-self.end or LAST] * 2)
            y = graph.node("Slice", x, starts, ends, graph.integers("axes", [2, 3]))
        size = graph.sizes(reference, 2, 4) if reference is not None else self._write_size(graph, x, y)
        how = "align_corners" if self.corners else "half_pixel"
        return graph.node(
            "Resize", y, "", "", size, axes=[2, 3], mode="linear", coordinate_transformation_mode=how
        )

    def _write_size(self, graph: OnnxGraph, x: OnnxValue, cropped: OnnxInput) -> str:
        """`output_size` of height and width: constant, or from the size of the cropped bottom."""
        known = x.sizes(2, 4)
        if known is not None:
            cut = self.begin + self.end
            return graph.integers("sizes", [self.output_size(known[axis] - cut, axis) for axis in (0, 1)])
        if self.size is not None and self.shrink is None and self.zoom is None:
            return graph.integers("sizes", self.size)
        size = graph.node("Shape", cropped, start=2, end=4)
        if self.shrink is not None:
            one = graph.integers("one", [1])
            steps = graph.node("Div", graph.node("Sub", size, one), graph.integers("shrink", [self.shrink]))
            size = graph.node("Add", steps, one)
        if self.zoom is not None:
            size = graph.node("Mul", size, graph.integers("zoom", [self.zoom]))
            size = graph.node("Sub", size, graph.integers("less", [self.zoom - 1]))
        return size

    def output_size(self, size: int, axis: int) -> int:
        """Output size of an effective (cropped) input size along height (0) or width (1)."""
        if self.factor is not None:
            return max(self.least, math.ceil(size * self.factor))
        if self.size is not None and self.shrink is None and self.zoom is None:
            return self.size[axis]
        if self.shrink is not None:
            size = (size - 1) // self.shrink + 1
        return size + (size - 1) * (self.zoom - 1) if self.zoom is not None else size

    def window(self) -> tuple[float, float]:
        if self.factor is not None:
            return 2.0, 1 / self.factor
        if self.shrink is None and self.zoom is None:
            size = self.setup.bottoms[1][3] if self.size is None else self.size[1]
            return 1.0, (self.setup.bottoms[0][3] - 1) / max(1, size - 1)
        step = (self.shrink or 1) / (self.zoom or 1)
        return (2.0 if self.zoom else 1.0), step


def resized(x: Tensor, size: Sequence[int], corners: bool) -> Tensor:
    """Bilinear resizing of the last two axes of (N, C, H, W)."""
    if only_sized(x) and min(size) > 0:
        return x.new_empty((*x.shape[:2], *size))
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=corners)


class Resized(torch.autograd.Function):
    """`resized`, with its gradient as two matrix products.

    torch's gradient on a GPU adds every pixel to four others with atomics, which takes longer than the whole
    DenseCRF filter. The sums are the same, in another order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int], corners: bool) -> Tensor:
        ctx.shape, ctx.size, ctx.corners = x.shape, size, corners
        return resized(x, size, corners)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        return gradient(upstream, ctx.shape[2:], ctx.corners), None, None


def gradient(upstream: Tensor, size: Sequence[int], corners: bool) -> Tensor:
    """The gradient of `resized` for its input of this height and width, in the type of `upstream`."""
    rows, columns = (
        shares(before, after, corners, upstream.device)
        for before, after in zip(size, upstream.shape[2:], strict=True)
    )
    with torch.autocast(upstream.device.type, enabled=False):
        return (rows @ (upstream.float() @ columns.T)).to(upstream.dtype)


@lru_cache(maxsize=64)
def shares(before: int, after: int, corners: bool, device: torch.device) -> Tensor:
    """What each of `before` values gives to each of `after`: float32 (before, after)."""
    with torch.no_grad():
        unit = torch.eye(before, device=device)[:, None, None]  # (before, 1, 1, before)
        return resized(unit, (1, after), corners)[:, 0, 0].contiguous()
