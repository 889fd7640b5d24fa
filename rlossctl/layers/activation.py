"""Activations and Dropout: one value in, one value out. All may run in place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.activation import (
    BNLLOutline,
    DropoutOutline,
    ELUOutline,
    HardSigmoidOutline,
    HardSwishOutline,
    PReLUOutline,
    ReLU6Outline,
    ReLUOutline,
    SeLUOutline,
    SigmoidOutline,
    SoftmaxOutline,
    SwishOutline,
    TanHOutline,
)


@computes("ReLU")
class ReLU(ReLUOutline, Layer):
    """max(x, 0) + negative_slope * min(x, 0); the derivative at 0 is the slope (relu_layer.cpp)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("LeakyRelu", x, alpha=self.slope) if self.slope else graph.node("Relu", x)


@computes("PReLU")
class PReLU(PReLUOutline, Layer):
    """max(x, 0) + slope * min(x, 0) with a learned slope per channel (axis 1), or one for all when
    channel_shared (prelu_layer.cpp). The slope starts at 0.25; the derivative at 0 is the slope.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.blobs[0].reshape(-1))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        slope = self.blobs[0]
        size = (1,) if not slope.dim() else (*slope.shape, *(1,) * (len(x.shape) - 2))
        return graph.node("PRelu", x, graph.weight("0", slope, size))


@computes("HardSwish")
class HardSwish(HardSwishOutline, Layer):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, eq. 1)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("HardSwish", x)


@computes("HardSigmoid")
class HardSigmoid(HardSigmoidOutline, Layer):
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, section 5.2)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)


@computes("ReLU6")
class ReLU6(ReLU6Outline, Layer):
    """min(max(x, 0), 6); no gradient at or beyond the bounds (relu6_layer.cpp of MobileNet forks)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Clip", x, graph.number("min", 0), graph.number("max", 6))


@computes("ELU")
class ELU(ELUOutline, Layer):
    """x where x > 0, else alpha (e^x - 1); alpha defaults to 1 (elu_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0)))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Elu", x, alpha=self.alpha)


@computes("SELU")
@computes("SeLU")
@computes("SeLu")
class SeLU(SeLUOutline, Layer):
    """lambda x where x > 0, else lambda alpha (e^x - 1) (selu_layer.cpp of forks, in two spellings).

    lambda defaults to 1.050700987, alpha to 1.67326324.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0)))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Selu", x, gamma=self.scale, alpha=self.alpha)


@computes("Sigmoid")
class Sigmoid(SigmoidOutline, Layer):
    """1 / (1 + e^-x) (sigmoid_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Sigmoid", x)


@computes("TanH")
class TanH(TanHOutline, Layer):
    """Hyperbolic tangent (tanh_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Tanh", x)


@computes("BNLL")
class BNLL(BNLLOutline, Layer):
    """log(1 + e^x), without overflow (bnll_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Softplus", x)


@computes("Swish")
class Swish(SwishOutline, Layer):
    """x * sigmoid(beta x); beta defaults to 1 (swish_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x * self.beta).sigmoid()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Mul", x, graph.node("Sigmoid", graph.scaled(x, self.beta, 0)))


@computes("Dropout")
class Dropout(DropoutOutline, Layer):
    """TRAIN: zero with probability dropout_ratio, the rest times 1 / (1 - ratio); TEST: identity.

    sample_weights_test (SegNet, ENet) keeps sampling in TEST: Bayesian SegNet averages many passes.
    scale_train: false (detection forks) scales in TEST instead: TRAIN does not scale the rest, and TEST is x
    times 1 - ratio. whole_channels, a field of ours, drops whole channels of (N, C, H, W), as PyTorch's
    Dropout2d does.
    """

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.drop = F.dropout2d if setup.message.dropout_param.whole_channels else F.dropout

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(x, self.ratio, training=True) if self.drops else x
        return y if self.scale == 1 else y * self.scale

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.scaled(x, self.scale, 0)


@computes("Softmax")
class Softmax(SoftmaxOutline, Layer):
    """exp(x - max) / sum along `axis`, default 1 (softmax_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.axis)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Softmax", x, axis=self.axis)
