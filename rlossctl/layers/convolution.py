"""Convolution, its variants, and InnerProduct: learned linear maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.layers import dilated_depthwise
from rlossctl.net.layer import Layer
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes, register
from rlossctl.outlines.convolution import (
    ConvolutionDepthwiseOutline,
    ConvolutionOutline,
    DeconvolutionOutline,
    InnerProductOutline,
    Learned,
    Windows,
)

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_DECONVOLUTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _Windows(Windows, Layer):
    """What all layers with a convolution_param do with their axes."""

    def each(self, function: Callable[[Tensor], Tensor], bottoms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Applies a function of (N, C, ...) blobs; all axes before the channels count as batch."""
        if self.axis == 1:
            return tuple(function(x) for x in bottoms)
        return tuple(
            function(x.flatten(0, self.axis - 1)).unflatten(0, x.shape[: self.axis]) for x in bottoms
        )


class _Learned(Learned, _Windows):
    """What Convolution and Deconvolution share."""

    low_precision = True

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


@computes("Convolution")
class Convolution(ConvolutionOutline, _Learned):
    """Cross-correlation with symmetric zero padding (base_conv_layer.cpp, conv_layer.cpp).

    Output size floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1 per spatial axis. Blobs: weight
    (out, in / group, kernel...), bias (out) when bias_term. Several bottoms share the weights. Axes after
    `axis` (the channels, default 1) are spatial, axes before it are batch.
    """

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return self.each(self._convolve, bottoms)

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        return self.write_each(graph, "Conv", bottoms)

    def _convolve(self, x: Tensor) -> Tensor:
        if self.spatial == 2 and dilated_depthwise.suits(
            x, self.blobs[0], self.stride, self.pad, self.dilation, self.group
        ):
            return dilated_depthwise.convolve(x, self.blobs[0], self.bias, self.pad, self.dilation)
        convolve = _CONVOLUTIONS[self.spatial]
        return convolve(x, self.blobs[0], self.bias, self.stride, self.pad, self.dilation, self.group)


@computes("DepthwiseConvolution")
@computes("ConvolutionDepthwise")
class ConvolutionDepthwise(ConvolutionDepthwiseOutline, Convolution):
    """A separate Convolution for each channel (conv_dw_layer.cpp and depthwise_conv_layer.cpp of MobileNet
    forks). Blobs: weight (channels, 1, kernel...), bias (channels) when bias_term.

    num_output and group may be left out; if given, they must be the number of channels.
    """


@computes("Deconvolution")
class Deconvolution(DeconvolutionOutline, _Learned):
    """The transpose of Convolution (deconv_layer.cpp).

    Output size stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad per spatial axis. Blobs: weight
    (in, out / group, kernel...), bias (out) when bias_term. Several bottoms share the weights.
    """

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return self.each(self._spread, bottoms)

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        return self.write_each(graph, "ConvTranspose", bottoms)

    def _spread(self, x: Tensor) -> Tensor:
        spread = _DECONVOLUTIONS[self.spatial]
        return spread(x, self.blobs[0], self.bias, self.stride, self.pad, 0, self.group, self.dilation)


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


@computes("InnerProduct")
class InnerProduct(InnerProductOutline, Layer):
    """y = x W^T + b over all axes from `axis` on (inner_product_layer.cpp); W is (K, N) with transpose."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        weight = self.blobs[0].t() if self.transpose else self.blobs[0]
        return F.linear(x.flatten(self.axis), weight, self.blobs[1] if len(self.blobs) > 1 else None)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.axis != 1:
            return None
        rows = x if len(x.shape) == 2 else graph.node("Flatten", x, axis=1)
        return graph.node("Gemm", rows, *graph.blobs(self), transB=int(not self.transpose))
