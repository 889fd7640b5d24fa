"""Layers that cut, copy and rearrange blobs: Split, Slice, Crop, Flatten, Reshape, Tile, Permute, ..."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes, register
from rlossctl.outlines.shape import (
    AutoCropOutline,
    CropOutline,
    FlattenOutline,
    PermuteOutline,
    PixelShuffleOutline,
    ReshapeOutline,
    ShuffleChannelOutline,
    SliceOutline,
    SplitOutline,
    TileOutline,
)


@computes("Split")
class Split(SplitOutline, Layer):
    """The bottom under several names; the gradients add up (split_layer.cpp). Caffe inserts these itself."""

    low_precision = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,) * self.setup.tops

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return (x.name,) * self.setup.tops


@computes("Slice")
class Slice(SliceOutline, Layer):
    """Cuts along `axis`, default 1, at the slice_points, else into equal parts (slice_layer.cpp).

    slice_dim is the old name of axis. The points ascend, one fewer than tops.
    """

    low_precision = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.points:
            return torch.tensor_split(x, self.points, self.axis)
        size = x.shape[self.axis] // self.setup.tops
        if not torch.compiler.is_compiling() and size * self.setup.tops != x.shape[self.axis]:
            raise self.error("the axis does not divide into equal parts", found=tuple(x.shape))
        return tuple(x.narrow(self.axis, index * size, size) for index in range(self.setup.tops))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        size, tops = x.shape[self.axis], self.setup.tops
        if not self.points:
            return graph.node_with(tops, "Split", x, axis=self.axis, num_outputs=tops)
        if size is None:
            return None
        cuts = [0, *self.points, size]
        parts = graph.integers("split", [end - start for start, end in pairwise(cuts)])
        return graph.node_with(tops, "Split", x, parts, axis=self.axis)


@computes("Crop")
class Crop(CropOutline, Layer):
    """The part of bottom 0 that starts at `offset` and has bottom 1's size, for `axis` (default 2) and the
    axes after it (crop_layer.cpp). No offset means 0, a single one applies to all cropped axes, else there is
    one per axis. Only the size of bottom 1 is used: it gets no gradient. The branches of FCN, HED and
    CRF-as-RNN have no offset: it follows from the coordinates of the layers between the bottoms
    (`rlossctl.prototxt.coordinates`). This also happens here in the dialect fcn, in V1 nets (BVLC's V1 has no
    CROP), and with by_coordinates, a field of ours.
    """

    low_precision = True

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        for axis, offset in self.axes:
            x = x.narrow(axis, offset, reference.shape[axis])
        return x

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, reference: OnnxValue) -> Written:
        axes, offsets = [axis for axis, _ in self.axes], [offset for _, offset in self.axes]
        sizes = reference.sizes(axes[0])
        if sizes is not None:
            ends = graph.integers("ends", [a + b for a, b in zip(offsets, sizes, strict=True)])
        else:
            ends = graph.sizes(reference, axes[0], len(x.shape))
            if any(offsets):
                ends = graph.node("Add", ends, graph.integers("offsets", offsets))
        return graph.node("Slice", x, graph.integers("starts", offsets), ends, graph.integers("axes", axes))


@register("Reorg", source="YOLO forks")
class Reorg(Layer):
    """(N, C, H, W) to (N, C s^2, H / s, W / s) in darknet's order (reorg_layer.cpp of the YOLO v2 forks).

    Darknet's loop takes the bottom's memory for (C / s^2, H s, W s), puts the s x s places of each window
    into channels of their own, and takes the result's memory for the top; only the shapes are those of a
    space-to-depth. reverse: true goes the other way, to (N, C / s^2, H s, W s).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.reorg_param, setup.bottoms[0]
        self.stride, self.reverse = param.stride, param.reverse
        if len(shape) != 4 or self.stride < 1 or shape[1] % self.stride**2:
            raise setup.error(
                "the channels must be a multiple of stride squared",
                found=f"{shape}, stride {self.stride}",
                expected="(N, C, H, W) with C = k stride^2",
            )
        if not self.reverse and (shape[2] % self.stride or shape[3] % self.stride):
            found = f"{shape}, stride {self.stride}"
            raise setup.error("the stride must divide height and width", found=found)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        s, inner = self.stride, channels // self.stride**2
        if self.reverse:
            windows = x.reshape(count, s, s, inner, height, width).permute(0, 3, 4, 1, 5, 2)
            return windows.reshape(count, inner, height * s, width * s)
        windows = x.reshape(count, inner, height, s, width, s).permute(0, 3, 5, 1, 2, 4)
        return windows.reshape(count, channels * s * s, height // s, width // s)

    def window(self) -> tuple[float, float]:
        return 1.0, 1 / self.stride if self.reverse else float(self.stride)


@computes("AutoCrop")
class AutoCrop(AutoCropOutline, Crop):
    """Crop of the FCN and HED branches: the offset follows from coordinates (auto_crop_layer.cpp)."""


@computes("Flatten")
class Flatten(FlattenOutline, Layer):
    """Joins the axes `axis` (default 1) to `end_axis` (default -1) into one (flatten_layer.cpp)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start, self.end)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.start == self.end:
            return x.name
        if (self.start, self.end) == (1, len(x.shape) - 1):
            return graph.node("Flatten", x, axis=1)
        return graph.reshaped(x, [0] * self.start, [-1], self.end + 1)


@computes("Reshape")
class Reshape(ReshapeOutline, Layer):
    """Replaces num_axes axes (default -1: all) from `axis` (default 0) on by `shape` (reshape_layer.cpp).

    A dim of 0 copies the bottom's size at that place; one dim of -1 takes the remaining size. A negative axis
    counts from the end; -1 is the place after the last axis.
    """

    def forward(self, x: Tensor) -> Tensor:
        middle = [size or x.shape[self.start + place] for place, size in enumerate(self.dims)]
        return x.reshape(*x.shape[: self.start], *middle, *x.shape[self.end :])

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.reshaped(x, [0] * self.start, self.dims, self.end)


@computes("Tile")
class Tile(TileOutline, Layer):
    """The bottom repeated `tiles` times along `axis`, default 1 (tile_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(self.repeats)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Tile", x, graph.integers("repeats", self.repeats))


@computes("Permute")
class Permute(PermuteOutline, Layer):
    """Axes in the order `order`; axes it does not name follow (permute_layer.cpp of the SSD fork)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Transpose", x, perm=self.order)


@computes("PixelShuffle")
class PixelShuffle(PixelShuffleOutline, Layer):
    """(N, C r^2, H, W) to (N, C, H r, W r): channel c r^2 + i r + j is row i, column j of each r x r block
    of channel c, with r = upscale_factor (pixel_shuffle_layer.cpp of super-resolution forks).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.factor)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("DepthToSpace", x, blocksize=self.factor, mode="CRD")


@computes("ShuffleChannel")
class ShuffleChannel(ShuffleChannelOutline, Layer):
    """Channels read as (group, C / group) and written as (C / group, group)
    (shuffle_channel_layer.cpp of farmingyard's ShuffleNet fork).
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.group, -1)).transpose(1, 2).flatten(1, 2)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        channels = torch.arange(self.setup.bottoms[0][1]).reshape(self.group, -1).T.flatten()
        return graph.node("Gather", x, graph.integers("channels", channels.tolist()), axis=1)
