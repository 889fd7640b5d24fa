"""Convolution, its variants, and InnerProduct: learned linear maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup, Shape, canonical_axis, only_sized
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import ConvolutionParameter, FillerParameter, InnerProductParameter

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_DECONVOLUTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _Windows(Layer):
    """Reads what all layers with a convolution_param share: the axes, kernel, stride, pad and dilation."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.convolution_param, setup.bottoms[0]
        self.axis = canonical_axis(setup, param.axis, len(shape))
        self.spatial = len(shape) - self.axis - 1
        if self.axis < 1 or self.spatial not in _CONVOLUTIONS:
            raise setup.error(
                "needs a batch axis, and 1 to 3 spatial axes after the channel axis",
                found=f"channel axis {self.axis}, shape {shape}",
            )
        if setup.tops != len(setup.bottoms):
            raise setup.error("needs a top for every bottom", found=setup.tops, expected=len(setup.bottoms))
        self.kernel, self.stride, self.pad = kernel_stride_pad(setup, param, self.spatial)
        self.dilation = _dilation(setup, param, self.spatial)
        self.channels = shape[self.axis]

    def each(self, function: Callable[[Tensor], Tensor], bottoms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Applies a function of (N, C, ...) blobs; all axes before the channels count as batch."""
        if self.axis == 1:
            return tuple(function(x) for x in bottoms)
        return tuple(
            function(x.flatten(0, self.axis - 1)).unflatten(0, x.shape[: self.axis]) for x in bottoms
        )

    def window(self) -> tuple[float, float]:
        return float(self.dilation[-1] * (self.kernel[-1] - 1) + 1), float(self.stride[-1])


class _Learned(_Windows):
    """The checks and blobs of Convolution and Deconvolution."""

    low_precision = True

    def add_blobs(self, inputs: int, outputs: int, group: int, *, transposed: bool = False) -> None:
        param = self.setup.message.convolution_param
        self.group = group
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
        weight, rank = self.blobs[0], self.axis + 1
        return sum(weight.numel() * prod(grid[: self.axis] + grid[rank:]) for grid in self.grids(tops))

    def grids(self, tops: Sequence[Shape]) -> Sequence[Shape]:
        """The shapes with a place for every position of the kernel."""
        return [tuple(top) for top in tops]

    @property
    def bias(self) -> Tensor | None:
        return self.blobs[1] if len(self.blobs) > 1 else None

    def write_each(self, graph: OnnxGraph, kind: str, bottoms: tuple[OnnxValue, ...]) -> Written:
        """A node for every bottom, all with the same weights."""
        if self.axis != 1:
            return None
        window = {
            "kernel_shape": self.kernel,
            "strides": self.stride,
            "pads": self.pad * 2,
            "dilations": self.dilation,
            "group": self.group,
        }
        return tuple(graph.node(kind, x, *graph.blobs(self), **window) for x in bottoms)


@register("Convolution", bottoms=(1, None), tops=(1, None))
class Convolution(_Learned):
    """Cross-correlation with symmetric zero padding (base_conv_layer.cpp, conv_layer.cpp).

    Output size floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1 per spatial axis. Blobs: weight
    (out, in / group, kernel...), bias (out) when bias_term. Several bottoms share the weights. Axes after
    `axis` (the channels, default 1) are spatial, axes before it are batch.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._declare()

    def _declare(self) -> None:
        param = self.setup.message.convolution_param
        self.add_blobs(self.channels, param.num_output, param.group)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return self.each(self._convolve, bottoms)

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        return self.write_each(graph, "Conv", bottoms)

    def _output_size(self, sizes: Sequence[int]) -> list[int]:
        windows = zip(sizes, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        return [(size + 2 * pad - d * (kernel - 1) - 1) // step + 1 for size, kernel, step, pad, d in windows]

    def _convolve(self, x: Tensor) -> Tensor:
        if only_sized(x) and x.shape[1] == self.channels and min(size := self._output_size(x.shape[2:])) > 0:
            return x.new_empty((x.shape[0], self.blobs[0].shape[0], *size))
        convolve = _CONVOLUTIONS[self.spatial]
        return convolve(x, self.blobs[0], self.bias, self.stride, self.pad, self.dilation, self.group)


@register("DepthwiseConvolution", source="MobileNet forks")
@register("ConvolutionDepthwise", source="MobileNet forks")
class ConvolutionDepthwise(Convolution):
    """A separate Convolution for each channel (conv_dw_layer.cpp and depthwise_conv_layer.cpp of MobileNet
    forks). Blobs: weight (channels, 1, kernel...), bias (channels) when bias_term.

    num_output and group may be left out; if given, they must be the number of channels.
    """

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


@register("Deconvolution", bottoms=(1, None), tops=(1, None))
class Deconvolution(_Learned):
    """The transpose of Convolution (deconv_layer.cpp).

    Output size stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad per spatial axis. Blobs: weight
    (in, out / group, kernel...), bias (out) when bias_term. Several bottoms share the weights.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.convolution_param
        self.add_blobs(self.channels, param.num_output, param.group, transposed=True)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return self.each(self._spread, bottoms)

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        return self.write_each(graph, "ConvTranspose", bottoms)

    def grids(self, tops: Sequence[Shape]) -> Sequence[Shape]:
        return [tuple(bottom) for bottom in self.setup.bottoms]

    def _output_size(self, sizes: Sequence[int]) -> list[int]:
        windows = zip(sizes, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        return [step * (size - 1) + d * (kernel - 1) + 1 - 2 * pad for size, kernel, step, pad, d in windows]

    def _spread(self, x: Tensor) -> Tensor:
        if only_sized(x) and x.shape[1] == self.channels and min(size := self._output_size(x.shape[2:])) > 0:
            outputs = self.setup.message.convolution_param.num_output
            return x.new_empty((x.shape[0], outputs, *size))
        spread = _DECONVOLUTIONS[self.spatial]
        return spread(x, self.blobs[0], self.bias, self.stride, self.pad, 0, self.group, self.dilation)

    def window(self) -> tuple[float, float]:
        extent, stride = super().window()
        return float(-(-extent // stride)), 1 / stride


@register("Im2col")
class Im2col(_Windows):
    """The windows of a Convolution as channels: (N, C kernel..., out...), with the kernel positions of one
    channel next to each other (im2col_layer.cpp). Positions in the padding are 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.each(self._columns, (x,))[0]

    def _columns(self, x: Tensor) -> Tensor:
        x = F.pad(x, [pad for pad in reversed(self.pad) for _ in range(2)])
        for place, kernel, stride, dilation in zip(
            range(self.spatial), self.kernel, self.stride, self.dilation, strict=True
        ):
            axis = 2 + 2 * place  # the axes before are already kernel and position
            out = (x.shape[axis] - (dilation * (kernel - 1) + 1)) // stride + 1
            start = torch.arange(kernel, device=x.device)[:, None] * dilation
            index = start + torch.arange(out, device=x.device) * stride
            x = x.index_select(axis, index.flatten()).unflatten(axis, (kernel, out))
        kernels = range(2, 2 + 2 * self.spatial, 2)
        return x.permute(0, 1, *kernels, *(axis + 1 for axis in kernels)).flatten(1, 1 + self.spatial)


@register("InnerProduct")
class InnerProduct(Layer):
    """y = x W^T + b over all axes from `axis` on (inner_product_layer.cpp); W is (K, N) with transpose."""

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.inner_product_param
        shape = setup.bottoms[0]
        self.axis = canonical_axis(setup, param.axis, len(shape))
        self.transpose = param.transpose
        count = 1
        for size in shape[self.axis :]:
            count *= size
        weight = (count, param.num_output) if self.transpose else (param.num_output, count)
        self.add_blob(weight, _filler(param, "weight_filler"))
        if param.bias_term:
            self.add_blob((param.num_output,), _filler(param, "bias_filler"))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.blobs[0].t() if self.transpose else self.blobs[0]
        return F.linear(x.flatten(self.axis), weight, self.blobs[1] if len(self.blobs) > 1 else None)

    def multiply_adds(self, tops: Sequence[Shape]) -> int:
        return self.blobs[0].numel() * prod(tops[0][:-1])

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.axis != 1:
            return None
        rows = x if len(x.shape) == 2 else graph.node("Flatten", x, axis=1)
        return graph.node("Gemm", rows, *graph.blobs(self), transB=int(not self.transpose))


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
