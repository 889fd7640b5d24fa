"""Parameter: a learned blob as a blob of the net."""

from __future__ import annotations

from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, Written
from rlossctl.net.registry import register


@register("Parameter", bottoms=0)
class Parameter(Layer):
    """Its top is a learned blob of shape parameter_param.shape, 0 at first (parameter_layer.hpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.add_blob(setup.message.parameter_param.shape.dim)

    def forward(self) -> Tensor:
        return self.blobs[0]

    def write_onnx(self, graph: OnnxGraph) -> Written:
        return graph.node("Identity", *graph.blobs(self))
