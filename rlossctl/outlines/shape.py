"""Layers that cut, copy and rearrange blobs: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe
from rlossctl.prototxt.coordinates import AUTO_CROP


@describe("Split", tops=(1, None))
class SplitOutline(Outline):
    """See `rlossctl.layers.shape.Split`."""

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top(bottoms[0], 0),) * self.setup.tops


@describe("Slice", tops=(1, None))
class SliceOutline(Outline):
    """See `rlossctl.layers.shape.Slice`."""

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

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,), tops = bottoms, self.setup.tops
        if len(bottom) <= self.axis:
            return None
        size = bottom[self.axis]
        cuts = [0, *self.points, size] if self.points else [size // tops * cut for cut in range(tops + 1)]
        if cuts[-1] != size or any(low >= high for low, high in pairwise(cuts)):
            return None
        before, after = bottom[: self.axis], bottom[self.axis + 1 :]
        return tuple(Top((*before, end - start, *after)) for start, end in pairwise(cuts))


@describe("Crop", bottoms=2)
class CropOutline(Outline):
    """See `rlossctl.layers.shape.Crop`."""

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

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        x, reference = bottoms
        if len(x) != len(reference) or len(x) != self.axes[-1][0] + 1:
            return None
        if any(offset + reference[axis] > x[axis] for axis, offset in self.axes):
            return None
        first = self.axes[0][0]
        return (Top((*x[:first], *reference[first:])),)


@describe("AutoCrop", source="RCF", bottoms=2)
class AutoCropOutline(CropOutline):
    """See `rlossctl.layers.shape.AutoCrop`."""


@describe("Flatten")
class FlattenOutline(Outline):
    """See `rlossctl.layers.shape.Flatten`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, rank = setup.message.flatten_param, len(setup.bottoms[0])
        self.start = canonical_axis(setup, param.axis, rank)
        self.end = canonical_axis(setup, param.end_axis, rank)
        if self.start > self.end:
            raise setup.error("end_axis comes before axis", found=f"{self.start} to {self.end}")

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        if len(bottom) <= self.end:
            return None
        joined = prod(bottom[self.start : self.end + 1])
        shape = (*bottom[: self.start], joined, *bottom[self.end + 1 :])
        return (Top(shape, 0 if self.start == self.end else None),)


@describe("Reshape")
class ReshapeOutline(Outline):
    """See `rlossctl.layers.shape.Reshape`."""

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

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        if len(bottom) != len(self.setup.bottoms[0]):
            return None
        middle = [size or bottom[self.start + place] for place, size in enumerate(self.dims)]
        shape = [*bottom[: self.start], *middle, *bottom[self.end :]]
        known, count = prod(size for size in shape if size != -1), prod(bottom)
        if -1 in shape and known:
            shape[shape.index(-1)] = count // known
        return (Top(tuple(shape)),) if -1 not in shape and prod(shape) == count else None


@describe("Tile")
class TileOutline(Outline):
    """See `rlossctl.layers.shape.Tile`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, rank = setup.message.tile_param, len(setup.bottoms[0])
        if param.tiles < 1:
            raise setup.error("tiles must be positive", found=param.tiles)
        axis = canonical_axis(setup, param.axis, rank)
        self.repeats = [param.tiles if place == axis else 1 for place in range(rank)]

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        if len(bottom) != len(self.repeats):
            return None
        return (Top(tuple(size * times for size, times in zip(bottom, self.repeats, strict=True))),)


@describe("Permute", source="SSD")
class PermuteOutline(Outline):
    """See `rlossctl.layers.shape.Permute`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        rank = len(setup.bottoms[0])
        order = list(setup.message.permute_param.order)
        if len(set(order)) != len(order) or any(axis >= rank for axis in order):
            raise setup.error(
                "order must name each axis at most once", found=order, expected=f"axes below {rank}"
            )
        self.order = order + [axis for axis in range(rank) if axis not in order]

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        return (Top(tuple(bottom[axis] for axis in self.order)),) if len(bottom) == len(self.order) else None


@describe("PixelShuffle", source="super-resolution forks")
class PixelShuffleOutline(Outline):
    """See `rlossctl.layers.shape.PixelShuffle`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.factor = setup.message.pixel_shuffle_param.upscale_factor
        shape = setup.bottoms[0]
        if self.factor < 1 or len(shape) != 4 or shape[1] % self.factor**2:
            raise setup.error(
                "needs a 4-D bottom whose channels are a multiple of upscale_factor squared",
                found=f"upscale_factor {self.factor}, bottom {shape}",
            )

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,), square = bottoms, self.factor**2
        if len(bottom) != 4 or bottom[1] % square:
            return None
        height, width = (size * self.factor for size in bottom[2:])
        return (Top((bottom[0], bottom[1] // square, height, width)),)


@describe("ShuffleChannel", source="ShuffleNet")
class ShuffleChannelOutline(Outline):
    """See `rlossctl.layers.shape.ShuffleChannel`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.group = setup.message.shuffle_channel_param.group
        shape = setup.bottoms[0]
        if self.group < 1 or len(shape) < 2 or shape[1] % self.group:
            raise setup.error("group must divide the channels", found=f"group {self.group}, bottom {shape}")

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        return (Top(bottom),) if len(bottom) > 1 and not bottom[1] % self.group else None
