"""Each image normalised by its own values: LRN, MVN and SSD's Normalize."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.image_normalization import LRNOutline, MVNOutline, NormalizeOutline


@computes("LRN")
class LRN(LRNOutline, Layer):
    """x (k + alpha * mean of x^2 in a window)^-beta, the window centred and padded with 0 (lrn_layer.cpp).

    ACROSS_CHANNELS: the window has local_size channels and the mean divides by local_size. WITHIN_CHANNEL: it
    has local_size x local_size pixels of one channel, the mean divides by their number, and k is always 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.within:
            return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
        mean = F.avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)
        return x * (1 + self.alpha * mean) ** -self.beta

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if not self.within:
            return graph.node("LRN", x, size=self.size, alpha=self.alpha, beta=self.beta, bias=self.k)
        window = {"kernel_shape": [self.size] * 2, "pads": [self.size // 2] * 4, "count_include_pad": 1}
        mean = graph.node("AveragePool", graph.node("Mul", x, x), **window)
        norm = graph.node("Pow", graph.scaled(mean, self.alpha, 1), graph.number("power", -self.beta))
        return graph.node("Mul", x, norm)


@computes("MVN")
class MVN(MVNOutline, Layer):
    """(x - mean) / (standard deviation + eps) of each channel, or of the whole image with across_channels;
    only x - mean if normalize_variance is false (mvn_layer.cpp). The deviation is the biased one.

    The gradient is Caffe's, (dy - mean(dy) - y mean(y dy)) / (deviation + eps). The exact derivative has an
    additional factor (deviation + eps) / deviation in the last term.
    """

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(*x.shape[: self.first], -1)
        y = flat - flat.mean(-1, keepdim=True)
        if self.divides:
            y = y / self._divisor((y * y).mean(-1, keepdim=True))
        return y.reshape(x.shape)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        axes = graph.integers("axes", range(self.first, len(x.shape)))
        y = graph.node("Sub", x, graph.node("ReduceMean", x, axes))
        if not self.divides:
            return y
        variance = graph.node("ReduceMean", graph.node("Mul", y, y), axes)
        return graph.node("Div", y, graph.scaled(graph.node("Sqrt", variance), 1, self.eps))

    def _divisor(self, variance: Tensor) -> Tensor:
        """sqrt(variance) + eps with the derivative 1 / (2 divisor), which gives Caffe's gradient."""
        with torch.no_grad():
            constant = (variance.sqrt() + self.eps).square() - variance
        return (variance + constant).sqrt()


@computes("Normalize")
class Normalize(NormalizeOutline, Layer):
    """x / sqrt(sum of x^2 + eps) times a learned scale (normalize_layer.cpp of the SSD fork).

    The sum runs over the whole image with across_spatial (the default), else over the channels of each
    pixel. Blob: one scale with channel_shared (the default), else one per channel; 1 by default. The
    gradient is exact; SSD's own is wrong for scales that differ between channels.
    """

    def forward(self, x: Tensor) -> Tensor:
        norm = ((x * x).sum(self.axes, keepdim=True) + self.eps).sqrt()
        return x / norm * self.blobs[0].reshape(-1, *(1,) * (x.dim() - 2))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        total = graph.node("ReduceSumSquare", x, graph.integers("axes", self.axes))
        norm = graph.node("Sqrt", graph.scaled(total, 1, self.eps))
        scale = self.blobs[0]
        size = (scale.numel(), *(1,) * (len(x.shape) - 2))
        return graph.node("Mul", graph.node("Div", x, norm), graph.weight("0", scale, size))
