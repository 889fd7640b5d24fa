"""Eltwise, Concat and Silence: several blobs in, one or none out."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.net.registry import register


@register("Eltwise", bottoms=(2, None))
class Eltwise(Layer):
    """PROD, SUM (with optional coefficients) or MAX of blobs with the same shape (eltwise_layer.cpp).

    MAX: a tie between bottoms 0 and 1 goes to bottom 1; a later bottom wins only if it is strictly greater.
    The whole gradient goes to the winner.
    """

    keeps_shape = True
    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.eltwise_param
        self.operation = param.EltwiseOp.Name(param.operation)
        self.coefficients = list(param.coeff)
        if len(set(setup.bottoms)) != 1:
            raise setup.error("bottoms must have the same shape", found=list(setup.bottoms))
        if self.coefficients and (self.operation == "PROD" or len(self.coefficients) != len(setup.bottoms)):
            raise setup.error(
                "coeff must be given once per bottom, but not for PROD",
                found=f"{len(self.coefficients)} coefficients, {len(setup.bottoms)} bottoms",
            )

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


@register("Concat", bottoms=(1, None))
class Concat(Layer):
    """Joins bottoms along `axis`, default 1; concat_dim is its old name (concat_layer.cpp)."""

    low_precision = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.concat_param
        if param.HasField("axis") and param.HasField("concat_dim"):
            raise setup.error("sets both axis and concat_dim", expected="axis alone")
        self.axis = param.concat_dim if param.HasField("concat_dim") else param.axis

    def forward(self, *bottoms: Tensor) -> Tensor:
        first, axis = bottoms[0], self.axis
        if first.is_meta and len({(*x.shape[:axis], *x.shape[axis:][1:]) for x in bottoms}) == 1:
            # torch would import its compiler to find out.
            joined = sum(x.shape[axis] for x in bottoms)
            return first.new_empty((*first.shape[:axis], joined, *first.shape[axis:][1:]))
        return torch.cat(bottoms, axis)

    def write_onnx(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        return graph.node("Concat", *bottoms, axis=self.axis)


@register("Silence", bottoms=(1, None), tops=0)
class Silence(Layer):
    """Reads blobs so that they are not printed as outputs."""

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return ()


@register("Axpy", source="SENet", bottoms=3)
class Axpy(Layer):
    """a x + y, a with one value per channel (axpy_layer.cpp of SENet's fork).

    Bottoms: a (N, C, 1, 1), x and y (N, C, H, W).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        factor, x, y = setup.bottoms
        if len(x) != 4 or y != x or tuple(factor) not in ((*x[:2], 1, 1), tuple(x[:2])):
            raise setup.error(
                "needs a value per channel and two blobs of the same size",
                found=", ".join(map(str, setup.bottoms)),
                expected="(N, C, 1, 1), (N, C, H, W) and (N, C, H, W)",
            )

    def forward(self, factor: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return factor.reshape(*x.shape[:2], 1, 1) * x + y

    def write_onnx(self, graph: OnnxGraph, factor: OnnxValue, x: OnnxValue, y: OnnxValue) -> Written:
        spread: OnnxInput = factor
        if len(factor.shape) == 2:
            spread = graph.node("Unsqueeze", factor, graph.integers("axes", [2, 3]))
        return graph.node("Add", graph.node("Mul", spread, x), y)
