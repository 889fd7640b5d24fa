"""Reduction: combines many values into one."""

from __future__ import annotations

from torch import Tensor

from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register


@register("Reduction")
class Reduction(Layer):
    """coeff times the SUM, ASUM (of magnitudes), SUMSQ (of squares) or MEAN over `axis` (default 0) and all
    axes after it, which are removed (reduction_layer.cpp). ASUM's derivative at 0 is 0.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.reduction_param
        self.axis = canonical_axis(setup, param.axis, len(setup.bottoms[0]))
        self.operation, self.coefficient = param.ReductionOp.Name(param.operation), param.coeff

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(self.axis)
        if self.operation == "ASUM":
            x = x.abs()
        elif self.operation == "SUMSQ":
            x = x * x
        y = x.mean(self.axis) if self.operation == "MEAN" else x.sum(self.axis)
        return y * self.coefficient

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        kinds = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}
        axes = graph.integers("axes", range(self.axis, len(x.shape)))
        return graph.scaled(graph.node(kinds[self.operation], x, axes, keepdims=0), self.coefficient, 0)
