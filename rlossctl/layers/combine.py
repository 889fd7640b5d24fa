"""Eltwise, Concat and Silence: several blobs in, one or none out."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.net.layer import Layer
from rlossctl.net.onnx_graph import OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.combine import AxpyOutline, ConcatOutline, EltwiseOutline, SilenceOutline


@computes("Eltwise")
class Eltwise(EltwiseOutline, Layer):
    """PROD, SUM (with optional coefficients) or MAX of blobs with the same shape (eltwise_layer.cpp).

    MAX: a tie between bottoms 0 and 1 goes to bottom 1; a later bottom wins only if it is strictly greater.
    The whole gradient goes to the winner.
    """

    low_precision = True

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.operation == "SUM":
            return self._sum(bottoms)
        y = bottoms[0]
        if self.operation == "PROD":
            for x in bottoms[1:]:
                y = y * x
            return y
        y = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
        for x in bottoms[2:]:
            y = torch.where(x > y, x, y)
        return y

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        coefficients = self.coefficients or [1.0] * len(bottoms)
        terms = [graph.scaled(x, c, 0) for x, c in zip(bottoms, coefficients, strict=True)]
        if self.operation == "MAX":
            return graph.node("Max", *terms)
        y = terms[0]
        for x in terms[1:]:
            y = graph.node("Add" if self.operation == "SUM" else "Mul", y, x)
        return y

    def _sum(self, bottoms: tuple[Tensor, ...]) -> Tensor:
        if self.coefficients:
            bottoms = tuple(x * c for x, c in zip(bottoms, self.coefficients, strict=True))
        y = bottoms[0]
        for x in bottoms[1:]:
            y = y + x
        return y


@computes("Concat")
class Concat(ConcatOutline, Layer):
    """Joins bottoms along `axis`, default 1; concat_dim is its old name (concat_layer.cpp)."""

    low_precision = True

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.cat(bottoms, self.axis)

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        return graph.node("Concat", *bottoms, axis=self.axis)


@computes("Silence")
class Silence(SilenceOutline, Layer):
    """Reads blobs so that they are not printed as outputs."""

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return ()


@computes("Axpy")
class Axpy(AxpyOutline, Layer):
    """a x + y, a with one value per channel (axpy_layer.cpp of SENet's fork).

    Bottoms: a (N, C, 1, 1), x and y (N, C, H, W).
    """

    def forward(self, factor: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return factor.reshape(*x.shape[:2], 1, 1) * x + y

    def write_onnx(self, graph: OnnxGraph, factor: OnnxValue, x: OnnxValue, y: OnnxValue) -> Written:
        spread: OnnxInput = factor
        if len(factor.shape) == 2:
            spread = graph.node("Unsqueeze", factor, graph.integers("axes", [2, 3]))
        return graph.node("Add", graph.node("Mul", spread, x), y)
