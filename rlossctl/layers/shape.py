"""Layers that cut, copy and rearrange blobs: Split, Slice, Crop, Flatten, Reshape, Tile, Permute, ..."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register
from rlossctl.prototxt.coordinates import AUTO_CROP


@register("Split", tops=(1, None))
class Split(Layer):
    """The bottom under several names; the gradients add up (split_layer.cpp). Caffe inserts these itself."""

    low_precision = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,) * self.setup.tops

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return (x.name,) * self.setup.tops


@register("Slice", tops=(1, None))
class Slice(Layer):
    """Cuts along `axis`, default 1, at the slice_points, else into equal parts (slice_layer.cpp).

    slice_dim is the old name of axis. The points ascend, one fewer than tops.
    """

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.slice_param
        if param.HasField("axis") and param.HasField("slice_dim"):
            raise setup.error("sets both axis and slice_dim", expected="axis alone")
        axis = param.slice_dim if param.HasField("slice_dim") else param.axis
        self.axis = canonical_axis(setup, axis, len(setup.bottoms[0]))
        self.points = list(param.slice_point)
        size = setup.bottoms[0][self.axis]
        cuts = [0, *self.points, size]
        if self.points and (
            len(self.points) != setup.tops - 1 or any(low >= high for low, high in pairwise(cuts))
        ):
            raise setup.error(
                "slice_points must ascend inside the axis, one fewer than tops",
                found=f"{self.points} for {setup.tops} tops",
                expected=f"{setup.tops - 1} points between 1 and {size - 1}",
            )

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


@register("Crop", bottoms=2)
class Crop(Layer):
    """The part of bottom 0 that starts at `offset` and has bottom 1's size, for `axis` (default 2) and the
    axes after it (crop_layer.cpp). No offset means 0, a single one applies to all cropped axes, else there is
    one per axis. Only the size of bottom 1 is used: it gets no gradient. The branches of FCN, HED and
    CRF-as-RNN have no offset: it follows from the coordinates of the layers between the bottoms
    (`rlossctl.prototxt.coordinates`). This also happens here in the dialect fcn, in V1 nets (BVLC's V1 has no
    CROP), and with by_coordinates, a field of ours.
    """

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, (shape, reference) = setup.message.crop_param, setup.bottoms
        if param.by_coordinates or (setup.message.type == AUTO_CROP and not param.offset):
            raise setup.error(
                "its offset cannot be computed from coordinates",
                found=f"bottoms {', '.join(setup.message.bottom)}",
                expected="windows and layers that keep positions between the bottoms and a common ancestor, "
                "on grids with the same step",
                advice="give the offset: crop_param { offset: N }",
            )
        axis = canonical_axis(setup, param.axis, len(shape))
        count = len(shape) - axis
        offsets = list(param.offset) or [0]
        if len(offsets) not in (1, count):
            raise setup.error(
                "offset must be given once or once per cropped axis", found=offsets, expected=f"1 or {count}"
            )
        offsets = offsets * count if len(offsets) == 1 else offsets
        self.axes = tuple(zip(range(axis, len(shape)), offsets, strict=True))
        if len(reference) != len(shape) or any(
            offset + reference[axis] > shape[axis] for axis, offset in self.axes
        ):
            raise setup.error(
                "bottom 1 at the offset is not inside bottom 0",
                found=f"bottom 1 {reference}, offset {offsets}",
                expected=f"inside {shape}",
            )

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


@register("AutoCrop", source="RCF", bottoms=2)
class AutoCrop(Crop):
    """Crop of the FCN and HED branches: the offset follows from coordinates (auto_crop_layer.cpp)."""


@register("Flatten")
class Flatten(Layer):
    """Joins the axes `axis` (default 1) to `end_axis` (default -1) into one (flatten_layer.cpp)."""

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, rank = setup.message.flatten_param, len(setup.bottoms[0])
        self.start = canonical_axis(setup, param.axis, rank)
        self.end = canonical_axis(setup, param.end_axis, rank)
        if self.start > self.end:
            raise setup.error("end_axis comes before axis", found=f"{self.start} to {self.end}")

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start, self.end)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.start == self.end:
            return x.name
        if (self.start, self.end) == (1, len(x.shape) - 1):
            return graph.node("Flatten", x, axis=1)
        return graph.reshaped(x, [0] * self.start, [-1], self.end + 1)


@register("Reshape")
class Reshape(Layer):
    """Replaces num_axes axes (default -1: all) from `axis` (default 0) on by `shape` (reshape_layer.cpp).

    A dim of 0 copies the bottom's size at that place; one dim of -1 takes the remaining size. A negative axis
    counts from the end; -1 is the place after the last axis.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, rank = setup.message.reshape_param, len(setup.bottoms[0])
        self.dims = list(param.shape.dim)
        self.start = param.axis if param.axis >= 0 else rank + param.axis + 1
        self.end = rank if param.num_axes == -1 else self.start + param.num_axes
        if not 0 <= self.start <= rank or not self.start <= self.end <= rank:
            raise setup.error(
                "axis and num_axes go beyond the bottom's axes",
                found=f"axis {param.axis}, num_axes {param.num_axes}",
                expected=f"bottom {setup.bottoms[0]}",
            )
        copied = [self.start + place for place, size in enumerate(self.dims) if size == 0]
        if self.dims.count(-1) > 1 or any(size < -1 for size in self.dims):
            raise setup.error("shape takes sizes, 0, and at most one -1", found=self.dims)
        if any(axis >= rank for axis in copied):
            raise setup.error("a dim of 0 has no axis to copy", found=self.dims)

    def forward(self, x: Tensor) -> Tensor:
        middle = [size or x.shape[self.start + place] for place, size in enumerate(self.dims)]
        return x.reshape(*x.shape[: self.start], *middle, *x.shape[self.end :])

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.reshaped(x, [0] * self.start, self.dims, self.end)


@register("Tile")
class Tile(Layer):
    """The bottom repeated `tiles` times along `axis`, default 1 (tile_layer.cpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, rank = setup.message.tile_param, len(setup.bottoms[0])
        if param.tiles < 1:
            raise setup.error("tiles must be positive", found=param.tiles)
        axis = canonical_axis(setup, param.axis, rank)
        self.repeats = [param.tiles if place == axis else 1 for place in range(rank)]

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(self.repeats)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Tile", x, graph.integers("repeats", self.repeats))


@register("Permute", source="SSD")
class Permute(Layer):
    """Axes in the order `order`; axes it does not name follow (permute_layer.cpp of the SSD fork)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        rank = len(setup.bottoms[0])
        order = list(setup.message.permute_param.order)
        if len(set(order)) != len(order) or any(axis >= rank for axis in order):
            raise setup.error(
                "order must name each axis at most once", found=order, expected=f"axes below {rank}"
            )
        self.order = order + [axis for axis in range(rank) if axis not in order]

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Transpose", x, perm=self.order)


@register("PixelShuffle", source="super-resolution forks")
class PixelShuffle(Layer):
    """(N, C r^2, H, W) to (N, C, H r, W r): channel c r^2 + i r + j is row i, column j of each r x r block
    of channel c, with r = upscale_factor (pixel_shuffle_layer.cpp of super-resolution forks).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.factor = setup.message.pixel_shuffle_param.upscale_factor
        shape = setup.bottoms[0]
        if self.factor < 1 or len(shape) != 4 or shape[1] % self.factor**2:
            raise setup.error(
                "needs a 4-D bottom whose channels are a multiple of upscale_factor squared",
                found=f"upscale_factor {self.factor}, bottom {shape}",
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.factor)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("DepthToSpace", x, blocksize=self.factor, mode="CRD")


@register("ShuffleChannel", source="ShuffleNet")
class ShuffleChannel(Layer):
    """Channels read as (group, C / group) and written as (C / group, group)
    (shuffle_channel_layer.cpp of farmingyard's ShuffleNet fork).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.group = setup.message.shuffle_channel_param.group
        shape = setup.bottoms[0]
        if self.group < 1 or len(shape) < 2 or shape[1] % self.group:
            raise setup.error("group must divide the channels", found=f"group {self.group}, bottom {shape}")

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.group, -1)).transpose(1, 2).flatten(1, 2)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        channels = torch.arange(self.setup.bottoms[0][1]).reshape(self.group, -1).T.flatten()
        return graph.node("Gather", x, graph.integers("channels", channels.tolist()), axis=1)
