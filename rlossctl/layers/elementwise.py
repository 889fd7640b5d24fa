"""Arithmetic on single values: AbsVal, Power, Exp, Log, Clip and Threshold. All may run in place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import FLOAT, OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register

NATURAL = -1.0  # the `base` of Exp and Log that means e


@register("AbsVal")
class AbsVal(Layer):
    """|x|; the derivative at 0 is 0 (absval_layer.cpp)."""

    keeps_shape = True

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Abs", x)


@register("Power")
class Power(Layer):
    """(shift + scale x)^power; the defaults give the identity (power_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.power_param
        self.power, self.scale, self.shift = param.power, param.scale, param.shift

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.scale + self.shift
        return y if self.power == 1 else y**self.power

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        y = graph.scaled(x, self.scale, self.shift)
        return y if self.power == 1 else graph.node("Pow", y, graph.number("power", self.power))


@register("Exp")
class Exp(Layer):
    """base^(shift + scale x); base -1, the default, means e (exp_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.exp_param
        log_base = _log_base(setup, param.base)
        self.inner = log_base * param.scale
        self.outer = math.exp(log_base * param.shift)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.inner).exp() * self.outer

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.scaled(graph.node("Exp", graph.scaled(x, self.inner, 0)), self.outer, 0)


@register("Log")
class Log(Layer):
    """log_base(shift + scale x); base -1, the default, means e (log_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.log_param
        log_base = _log_base(setup, param.base)
        if not log_base:
            raise setup.error("base 1 has no logarithm", found=param.base)
        self.scale, self.shift, self.outer = param.scale, param.shift, 1 / log_base

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale + self.shift).log() * self.outer

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.scaled(graph.node("Log", graph.scaled(x, self.scale, self.shift)), self.outer, 0)


@register("Clip")
class Clip(Layer):
    """min(max(x, min), max); the gradient passes at both bounds, not beyond (clip_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.clip_param
        if not param.HasField("min") or not param.HasField("max"):
            raise setup.error("needs clip_param with min and max")
        self.low, self.high = param.min, param.max
        if self.low > self.high:
            raise setup.error("min exceeds max", found=f"min {self.low}, max {self.high}")

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Clip", x, graph.number("min", self.low), graph.number("max", self.high))


@register("Threshold", gradient=False)
class Threshold(Layer):
    """1 where x > threshold (default 0), else 0; no gradient passes (threshold_layer.cpp)."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.threshold = setup.message.threshold_param.threshold

    def forward(self, x: Tensor) -> Tensor:
        return torch.gt(x, self.threshold).to(x.dtype)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        above = graph.node("Greater", x, graph.number("threshold", self.threshold))
        return graph.node("Cast", above, to=FLOAT)


def _log_base(setup: Setup, base: float) -> float:
    if base == NATURAL:
        return 1.0
    if base <= 0:
        raise setup.error("base must be positive, or -1 for e", found=base)
    return math.log(base)
