"""Arithmetic on single values: AbsVal, Power, Exp, Log, Clip and Threshold. All may run in place."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.net.layer import Layer
from rlossctl.net.onnx_graph import FLOAT, OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.elementwise import (
    AbsValOutline,
    ClipOutline,
    ExpOutline,
    LogOutline,
    PowerOutline,
    ThresholdOutline,
)


@computes("AbsVal")
class AbsVal(AbsValOutline, Layer):
    """|x|; the derivative at 0 is 0 (absval_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Abs", x)


@computes("Power")
class Power(PowerOutline, Layer):
    """(shift + scale x)^power; the defaults give the identity (power_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.scale + self.shift
        return y if self.power == 1 else y**self.power

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        y = graph.scaled(x, self.scale, self.shift)
        return y if self.power == 1 else graph.node("Pow", y, graph.number("power", self.power))


@computes("Exp")
class Exp(ExpOutline, Layer):
    """base^(shift + scale x); base -1, the default, means e (exp_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.inner).exp() * self.outer

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.scaled(graph.node("Exp", graph.scaled(x, self.inner, 0)), self.outer, 0)


@computes("Log")
class Log(LogOutline, Layer):
    """log_base(shift + scale x); base -1, the default, means e (log_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale + self.shift).log() * self.outer

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.scaled(graph.node("Log", graph.scaled(x, self.scale, self.shift)), self.outer, 0)


@computes("Clip")
class Clip(ClipOutline, Layer):
    """min(max(x, min), max); the gradient passes at both bounds, not beyond (clip_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.low, self.high)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return graph.node("Clip", x, graph.number("min", self.low), graph.number("max", self.high))


@computes("Threshold")
class Threshold(ThresholdOutline, Layer):
    """1 where x > threshold (default 0), else 0; no gradient passes (threshold_layer.cpp)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.gt(x, self.threshold).to(x.dtype)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        above = graph.node("Greater", x, graph.number("threshold", self.threshold))
        return graph.node("Cast", above, to=FLOAT)
