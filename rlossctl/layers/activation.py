"""Activations and Dropout: one value in, one value out. All may run in place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register


@register("ReLU")
class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0); the derivative at 0 is the slope (relu_layer.cpp)."""

    keeps_shape = True
    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.slope = setup.message.relu_param.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("LeakyRelu", x, alpha=self.slope) if self.slope else graph.node("Relu", x)


@register("PReLU")
class PReLU(Layer):
    """max(x, 0) + slope * min(x, 0) with a learned slope per channel (axis 1), or one for all when
    channel_shared (prelu_layer.cpp). The slope starts at 0.25; the derivative at 0 is the slope.
    """

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.prelu_param, setup.bottoms[0]
        if len(shape) < 2:
            raise setup.error("needs a bottom with a channel axis (axis 1)", found=shape)
        filler = type(param.filler)(value=0.25)
        self.add_blob(
            () if param.channel_shared else shape[1:2], param.filler if param.HasField("filler") else filler
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.blobs[0].reshape(-1))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        slope = self.blobs[0]
        size = (1,) if not slope.dim() else (*slope.shape, *(1,) * (len(x.shape) - 2))
        return graph.node("PRelu", x, graph.weight("0", slope, size))


@register("HardSwish", source="rlossctl")
class HardSwish(Layer):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, eq. 1)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x)


@register("HardSigmoid", source="rlossctl")
class HardSigmoid(Layer):
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, section 5.2)."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)


@register("ReLU6", source="MobileNet forks")
class ReLU6(Layer):
    """min(max(x, 0), 6); no gradient at or beyond the bounds (relu6_layer.cpp of MobileNet forks)."""

    keeps_shape = True
    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.message.relu6_param.negative_slope:
            raise setup.error(
                "negative_slope has no agreed meaning here",
                found=setup.message.relu6_param.negative_slope,
                expected="0",
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Clip", x, graph.number("min", 0), graph.number("max", 6))


@register("ELU")
class ELU(Layer):
    """x where x > 0, else alpha (e^x - 1); alpha defaults to 1 (elu_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.alpha = setup.message.elu_param.alpha

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0)))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Elu", x, alpha=self.alpha)


@register("SELU", source="self-normalizing forks")
@register("SeLU", source="self-normalizing forks")
@register("SeLu", source="self-normalizing forks")
class SeLU(Layer):
    """lambda x where x > 0, else lambda alpha (e^x - 1) (selu_layer.cpp of forks, in two spellings).

    lambda defaults to 1.050700987, alpha to 1.67326324.
    """

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.selu_param
        self.scale, self.alpha = getattr(param, "lambda"), param.alpha

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0)))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Selu", x, gamma=self.scale, alpha=self.alpha)


@register("Sigmoid")
class Sigmoid(Layer):
    """1 / (1 + e^-x) (sigmoid_layer.cpp)."""

    keeps_shape = True

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Sigmoid", x)


@register("TanH")
class TanH(Layer):
    """Hyperbolic tangent (tanh_layer.cpp)."""

    keeps_shape = True

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Tanh", x)


@register("BNLL")
class BNLL(Layer):
    """log(1 + e^x), without overflow (bnll_layer.cpp)."""

    keeps_shape = True

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Softplus", x)


@register("Swish")
class Swish(Layer):
    """x * sigmoid(beta x); beta defaults to 1 (swish_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.beta = setup.message.swish_param.beta

    def forward(self, x: Tensor) -> Tensor:
        return x * (x * self.beta).sigmoid()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Mul", x, graph.node("Sigmoid", graph.scaled(x, self.beta, 0)))


@register("Dropout")
class Dropout(Layer):
    """TRAIN: zero with probability dropout_ratio, the rest times 1 / (1 - ratio); TEST: identity.

    sample_weights_test (SegNet, ENet) keeps sampling in TEST: Bayesian SegNet averages many passes.
    scale_train: false (detection forks) scales in TEST instead: TRAIN does not scale the rest, and TEST is x
    times 1 - ratio. whole_channels, a field of ours, drops whole channels of (N, C, H, W), as PyTorch's
    Dropout2d does.
    """

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.dropout_param
        self.ratio = param.dropout_ratio
        if not 0 < self.ratio < 1:
            raise setup.error("dropout_ratio must be between 0 and 1", found=self.ratio)
        if param.whole_channels and len(setup.bottoms[0]) != 4:
            raise setup.error("whole_channels needs a 4-D bottom", found=setup.bottoms[0])
        self.scale = 1 if param.scale_train else 1 - self.ratio
        self.drop = F.dropout2d if param.whole_channels else F.dropout
        self.drops = setup.phase == "TRAIN" or param.sample_weights_test
        if self.drops:
            self.unexportable = "it draws at random (sample_weights_test: true, or phase TRAIN)"

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(x, self.ratio, training=True) if self.drops else x
        return y if self.scale == 1 else y * self.scale

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.scaled(x, self.scale, 0)


@register("Softmax")
class Softmax(Layer):
    """exp(x - max) / sum along `axis`, default 1 (softmax_layer.cpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.axis = canonical_axis(setup, setup.message.softmax_param.axis, len(setup.bottoms[0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.axis)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Softmax", x, axis=self.axis)
