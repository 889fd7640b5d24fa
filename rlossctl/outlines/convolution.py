"""Convolution, its variants, and InnerProduct: windows, learned blobs, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe
from rlossctl.prototxt.messages import ConvolutionParameter, FillerParameter, InnerProductParameter


class Windows(Outline):
    """Reads what all layers with a convolution_param share: the axes, kernel, stride, pad and dilation."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.convolution_param, setup.bottoms[0]
        self.axis = canonical_axis(setup, param.axis, len(shape))
        self.spatial = len(shape) - self.axis - 1
        if self.axis < 1 or not 1 <= self.spatial <= 3:
            raise setup.error(
                "needs a batch axis, and 1 to 3 spatial axes after the channel axis",
                found=f"channel axis {self.axis}, shape {shape}",
            )
        if setup.tops != len(setup.bottoms):
            raise setup.error("needs a top for every bottom", found=setup.tops, expected=len(setup.bottoms))
        self.kernel, self.stride, self.pad = kernel_stride_pad(setup, param, self.spatial)
        self.dilation = _dilation(setup, param, self.spatial)
        self.channels = shape[self.axis]

    def window(self) -> tuple[float, float]:
        return float(self.dilation[-1] * (self.kernel[-1] - 1) + 1), float(self.stride[-1])


class Learned(Windows):
    """The checks and blobs of Convolution and Deconvolution."""

    def add_blobs(self, inputs: int, outputs: int, group: int, *, transposed: bool = False) -> None:
        param = self.setup.message.convolution_param
        self.group, self.outputs = group, outputs
        if outputs < 1 or group < 1 or inputs % group or outputs % group:
            raise self.error(
                "num_output and the input channels must be multiples of group",
                found=f"num_output {outputs}, {inputs} input channels, group {group}",
            )
        channels = (inputs, outputs // group) if transposed else (outputs, inputs // group)
        self.add_blob((*channels, *self.kernel), _filler(param, "weight_filler"))
        if param.bias_term:
            self.add_blob((outputs,), _filler(param, "bias_filler"))

    def multiply_adds(self, tops: Sequence[Shape]) -> int:
        weight, rank = prod(self.blob_shapes[0]), self.axis + 1
        return sum(weight * prod(grid[: self.axis] + grid[rank:]) for grid in self.grids(tops))

    def grids(self, tops: Sequence[Shape]) -> Sequence[Shape]:
        """The shapes with a place for every position of the kernel."""
        return [tuple(top) for top in tops]

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        tops = [self._top(bottom) for bottom in bottoms]
        return tuple(Top(top) for top in tops if top) if all(tops) else None

    def _top(self, bottom: Shape) -> Shape | None:
        """The top's shape; None where torch has to say what is wrong with the bottom."""
        before, after = bottom[: self.axis], bottom[self.axis + 1 :]
        if len(bottom) != self.axis + 1 + self.spatial or bottom[self.axis] != self.channels:
            return None
        sizes = [self.output_size(size, axis) for axis, size in enumerate(after)]
        return (*before, self.outputs, *sizes) if min(sizes) > 0 else None

    def output_size(self, size: int, axis: int) -> int:
        """The size of a spatial axis of a top, from the bottom's."""
        raise NotImplementedError


@describe("Convolution", bottoms=(1, None), tops=(1, None))
class ConvolutionOutline(Learned):
    """See `rlossctl.layers.convolution.Convolution`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._declare()

    def _declare(self) -> None:
        param = self.setup.message.convolution_param
        self.add_blobs(self.channels, param.num_output, param.group)

    def output_size(self, size: int, axis: int) -> int:
        extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.pad[axis] - extent) // self.stride[axis] + 1


@describe("DepthwiseConvolution", source="MobileNet forks")
@describe("ConvolutionDepthwise", source="MobileNet forks")
class ConvolutionDepthwiseOutline(ConvolutionOutline):
    """See `rlossctl.layers.convolution.ConvolutionDepthwise`."""

    def _declare(self) -> None:
        param = self.setup.message.convolution_param
        for name in ("num_output", "group"):
            if param.HasField(name) and getattr(param, name) != self.channels:
                raise self.error(
                    f"{name} must be the number of channels",
                    found=getattr(param, name),
                    expected=self.channels,
                )
        self.add_blobs(self.channels, self.channels, self.channels)


@describe("Deconvolution", bottoms=(1, None), tops=(1, None))
class DeconvolutionOutline(Learned):
    """See `rlossctl.layers.convolution.Deconvolution`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.convolution_param
        self.add_blobs(self.channels, param.num_output, param.group, transposed=True)

    def grids(self, tops: Sequence[Shape]) -> Sequence[Shape]:
        return [tuple(bottom) for bottom in self.setup.bottoms]

    def window(self) -> tuple[float, float]:
        extent, stride = super().window()
        return float(-(-extent // stride)), 1 / stride

    def output_size(self, size: int, axis: int) -> int:
        extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return self.stride[axis] * (size - 1) + extent - 2 * self.pad[axis]


@describe("InnerProduct")
class InnerProductOutline(Outline):
    """See `rlossctl.layers.convolution.InnerProduct`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.inner_product_param
        shape = setup.bottoms[0]
        self.axis = canonical_axis(setup, param.axis, len(shape))
        self.transpose = param.transpose
        self.inputs = prod(shape[self.axis :])
        weight = (self.inputs, param.num_output) if self.transpose else (param.num_output, self.inputs)
        self.add_blob(weight, _filler(param, "weight_filler"))
        if param.bias_term:
            self.add_blob((param.num_output,), _filler(param, "bias_filler"))

    def multiply_adds(self, tops: Sequence[Shape]) -> int:
        return prod(self.blob_shapes[0]) * prod(tops[0][:-1])

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,), param = bottoms, self.setup.message.inner_product_param
        fits = len(bottom) > self.axis and prod(bottom[self.axis :]) == self.inputs
        return (Top((*bottom[: self.axis], param.num_output)),) if fits else None


def kernel_stride_pad(
    setup: Setup, param: ConvolutionParameter, spatial: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Reads kernel, stride and pad in either of Caffe's two forms (repeated, or _h and _w)."""
    return (
        _either(setup, param, "kernel_size", "kernel", spatial, None),
        _either(setup, param, "stride", "stride", spatial, 1),
        _either(setup, param, "pad", "pad", spatial, 0),
    )


def _either(
    setup: Setup,
    param: ConvolutionParameter,
    repeated: str,
    pair: str,
    spatial: int,
    default: int | None,
) -> tuple[int, ...]:
    names = (f"{pair}_h", f"{pair}_w")
    values = list(getattr(param, repeated))
    if any(param.HasField(name) for name in names):
        if values or spatial != 2:
            raise setup.error(
                f"{pair}_h and {pair}_w are for two spatial axes and exclude {repeated}",
                found=f"{repeated} {values}, {spatial} spatial axes",
            )
        both = tuple(getattr(param, name) for name in names)
        # As in Caffe, a missing half counts as 0, which is an error for kernels and strides.
        if default != 0 and 0 in both:
            raise setup.error(f"{pair}_h and {pair}_w must both be positive", found=both)
        return both
    return per_axis(setup, repeated, values, spatial, default)


def _dilation(setup: Setup, param: ConvolutionParameter, spatial: int) -> tuple[int, ...]:
    """dilation, or DeepLab v1's names for it: hole, or hole_h and hole_w."""
    holes = [name for name in ("hole", "hole_h", "hole_w") if param.HasField(name)]
    if not holes:
        return per_axis(setup, "dilation", list(param.dilation), spatial, 1)
    if param.dilation or spatial != 2 or (len(holes) > 1 and "hole" in holes):
        raise setup.error(
            "the distance between the kernel's values must be given once",
            found=", ".join([*holes, *(["dilation"] if param.dilation else [])])
            + f"; {spatial} spatial axes",
            expected="dilation; or, for two spatial axes, hole, or hole_h and hole_w",
        )
    pair = (param.hole, param.hole) if holes == ["hole"] else (param.hole_h, param.hole_w)
    return per_axis(setup, "hole", list(pair), spatial, 1)


def per_axis(
    setup: Setup, name: str, values: list[int], spatial: int, default: int | None
) -> tuple[int, ...]:
    """One value for all spatial axes, or one per axis."""
    if not values and default is not None:
        return (default,) * spatial
    if len(values) not in (1, spatial):
        raise setup.error(
            f"{name} must be given once or once per spatial axis", found=values, expected=f"1 or {spatial}"
        )
    if name != "pad" and 0 in values:
        raise setup.error(f"{name} must be positive", found=values)
    return tuple(values * spatial) if len(values) == 1 else tuple(values)


def _filler(param: ConvolutionParameter | InnerProductParameter, name: str) -> FillerParameter | None:
    return getattr(param, name) if param.HasField(name) else None
