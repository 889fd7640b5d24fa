"""Activations and Dropout: one value in, one value out; all may be in place."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.registry import register


@register("ReLU")
class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0); the derivative at 0 is the slope (relu_layer.cpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.slope = setup.message.relu_param.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)


@register("Dropout")
class Dropout(Layer):
    """TRAIN: zero with probability dropout_ratio, the rest times 1 / (1 - ratio); TEST: identity.

    sample_weights_test (SegNet, ENet) keeps sampling in TEST: Bayesian SegNet averages many passes.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.dropout_param
        self.ratio = param.dropout_ratio
        if not 0 < self.ratio < 1:
            raise setup.error("dropout_ratio must lie between 0 and 1", found=self.ratio)
        self.drops = setup.phase == "TRAIN" or param.sample_weights_test

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.ratio, training=True) if self.drops else x


@register("Softmax")
class Softmax(Layer):
    """exp(x - max) / sum along `axis`, default 1 (softmax_layer.cpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.axis = canonical_axis(setup, setup.message.softmax_param.axis, len(setup.bottoms[0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.axis)
