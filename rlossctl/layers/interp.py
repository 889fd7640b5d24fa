"""Interp of the DeepLab fork: bilinear resizing, with or without aligned corners."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer
from rlossctl.net.onnx_graph import LAST, OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.interp import InterpOutline


@computes("Interp")
class Interp(InterpOutline, Layer):
    """Bilinear, corner aligned: source = target * (in - 1) / (out - 1) (interp_layer.cpp, util/interp.cpp).

    pad_beg and pad_end (<= 0) crop first. The output size follows the first rule whose fields are set:
    shrink_factor s: (e - 1) / s + 1; zoom_factor z: e + (e - 1)(z - 1); height and width; shrink, then zoom.
    Labels go through the same code: this is exact subsampling only if s divides e - 1. Two additions of ours,
    for PyTorch's networks: a second bottom sets the size and gets no gradient; align_corners: false treats
    pixels as areas, source = (target + 1/2) * in / out - 1/2, with the border repeated. A third: factor f
    makes e values ceil(f e), and at least `at_least`.
    """

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
        if self.factor is not None and x.sizes(2, 4) is None:
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


def resized(x: Tensor, size: Sequence[int], corners: bool) -> Tensor:
    """Bilinear resizing of the last two axes of (N, C, H, W)."""
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
