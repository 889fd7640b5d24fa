"""Convolution and InnerProduct: learned linear maps."""

from __future__ import annotations

import torch.nn.functional as F
from google.protobuf.message import Message
from torch import Tensor

from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.registry import register

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@register("Convolution", bottoms=(1, None), tops=(1, None))
class Convolution(Layer):
    """Cross-correlation with symmetric zero padding (base_conv_layer.cpp, conv_layer.cpp).

    Output size floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1 per spatial axis. Blobs: weight
    (out, in / group, kernel...), bias (out) when bias_term. Several bottoms share the weights.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.convolution_param
        shape = setup.bottoms[0]
        axis = canonical_axis(setup, param.axis, len(shape))
        spatial = len(shape) - axis - 1
        if axis != 1 or spatial not in _CONVOLUTIONS:
            raise setup.error(
                "channel axis must be 1, with 1 to 3 spatial axes after it",
                found=f"axis {axis}, shape {shape}",
            )
        if setup.tops != len(setup.bottoms):
            raise setup.error("needs a top for every bottom", found=setup.tops, expected=len(setup.bottoms))
        self.kernel, self.stride, self.pad = kernel_stride_pad(setup, param, spatial)
        self.dilation = per_axis(setup, "dilation", list(param.dilation), spatial, 1)
        self.group = param.group
        self.convolve = _CONVOLUTIONS[spatial]
        channels, outputs = shape[1], param.num_output
        if outputs < 1 or self.group < 1 or channels % self.group or outputs % self.group:
            raise setup.error(
                "num_output and the input channels must be multiples of group",
                found=f"num_output {outputs}, {channels} input channels, group {self.group}",
            )
        self.add_blob((outputs, channels // self.group, *self.kernel), _filler(param, "weight_filler"))
        if param.bias_term:
            self.add_blob((outputs,), _filler(param, "bias_filler"))

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        bias = self.blobs[1] if len(self.blobs) > 1 else None
        return tuple(
            self.convolve(x, self.blobs[0], bias, self.stride, self.pad, self.dilation, self.group)
            for x in bottoms
        )

    def window(self) -> tuple[float, float]:
        return float(self.dilation[-1] * (self.kernel[-1] - 1) + 1), float(self.stride[-1])


@register("InnerProduct")
class InnerProduct(Layer):
    """y = x W^T + b over everything from `axis` on (inner_product_layer.cpp); W is (K, N) when transpose."""

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


def kernel_stride_pad(
    setup: Setup, param: Message, spatial: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Reads kernel, stride and pad in either of Caffe's two spellings (repeated, or _h and _w)."""
    return (
        _either(setup, param, "kernel_size", "kernel", spatial, None),
        _either(setup, param, "stride", "stride", spatial, 1),
        _either(setup, param, "pad", "pad", spatial, 0),
    )


def _either(
    setup: Setup, param: Message, repeated: str, pair: str, spatial: int, default: int | None
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
        # As in Caffe an absent half counts 0, which is an error for kernels and strides.
        if default != 0 and 0 in both:
            raise setup.error(f"{pair}_h and {pair}_w must both be positive", found=both)
        return both
    return per_axis(setup, repeated, values, spatial, default)


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


def _filler(param: Message, name: str) -> Message | None:
    return getattr(param, name) if param.HasField(name) else None
