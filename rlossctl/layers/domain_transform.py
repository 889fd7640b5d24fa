"""Layers of the rloss fork that use a one-channel map to multiply or smooth features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register


@register("SpatialProduct", source="rloss", bottoms=2)
class SpatialProduct(Layer):
    """Each channel of (N, C, H, W) times a map (N, 1, H, W) (spatial_product_layer.cpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        check_map(setup)

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return x * factor

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, factor: OnnxValue) -> Written:
        return graph.node("Mul", x, factor)


@register("DomainTransform", source="rloss", bottoms=3, onnx=False)
class DomainTransform(Layer):
    """Edge-aware smoothing by num_iter rounds of four recursive filters (domain_transform_layer.cpp).

    Bottoms: features (N, C, H, W), reference gradient (N, 1, H, W), and height and width of each image
    without its padding (N, 1, 1, 2); pixels outside do not change. Round i of T runs right, left, down and
    up with y[p] += w (y[before] - y[p]), where w is the weight of the later pixel:
    exp(-sqrt(2) / sigma_i (1 + g spatial_sigma / range_sigma)), sigma_i = spatial_sigma sqrt(3) 2^(T-i-1) /
    sqrt(4^T - 1), limited to min_weight..1. As in the original, the gradient ignores these limits. Gradients
    go to the features and the reference gradient.
    """

    bounded = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.domain_transform_param
        self.rounds, self.least = param.num_iter, param.min_weight
        self.spatial, self.range = param.spatial_sigma, param.range_sigma
        if self.rounds < 1 or self.least < 0 or not (self.spatial > 0 and self.range > 0):
            raise setup.error(
                "a parameter is out of range",
                found=f"num_iter {self.rounds}, spatial_sigma {self.spatial:g}, range_sigma {self.range:g}, "
                f"min_weight {self.least:g}",
                expected="num_iter and both sigmas above 0, min_weight not negative",
            )
        check_map(setup)
        if torch.Size(setup.bottoms[2]) != (setup.bottoms[0][0], 1, 1, 2):
            raise setup.error("needs a height and a width per image", found=setup.bottoms[2])

    def forward(self, x: Tensor, reference: Tensor, sizes: Tensor) -> Tensor:
        if x.is_meta:
            return torch.empty_like(x)
        return torch.stack(
            [
                self._smooth(image, edges[0], size)
                for image, edges, size in zip(
                    x, reference, sizes.detach().reshape(-1, 2).long().tolist(), strict=True
                )
            ]
        )

    def _smooth(self, image: Tensor, edges: Tensor, size: list[int]) -> Tensor:
        """Filters one image: (C, H, W), edges (H, W), height and width without padding."""
        height, width = size
        if not (0 < height <= image.shape[1] and 0 < width <= image.shape[2]):
            raise self.error(
                "the image is larger than its blob, or empty",
                found=f"height {height}, width {width}",
                expected=f"at most {image.shape[1]} and {image.shape[2]}",
            )
        y, edges = image[:, :height, :width], edges[:height, :width]
        for index in range(self.rounds):
            weights = self._weights(edges, index)
            y = recursive(y, weights)
            y = recursive(y.mT, weights.mT).mT
        if (height, width) == tuple(image.shape[1:]):
            return y
        right = torch.cat([y, image[:, :height, width:]], 2)
        return torch.cat([right, image[:, height:]], 1)

    def _weights(self, edges: Tensor, index: int) -> Tensor:
        sigma = self.spatial * math.sqrt(3) * 2.0 ** (self.rounds - index - 1) / math.sqrt(4**self.rounds - 1)
        exponent = (-math.sqrt(2) / sigma) * (1 + edges * (self.spatial / self.range))
        if not self.bounded:
            return exponent.exp()
        value = exponent.detach().exp().clamp(min=self.least).clamp(max=1)
        return value * (exponent - exponent.detach()).exp()


@register("DomainTransformForwardOnly", source="rloss", bottoms=3, gradient=False, onnx=False)
class DomainTransformForwardOnly(DomainTransform):
    """DomainTransform without a gradient and without bounds on the weights.

    domain_transform_forward_only_layer.cpp; parameters of domain_transform_param, min_weight has no effect.
    """

    bounded = False

    @torch.no_grad()
    def forward(self, x: Tensor, reference: Tensor, sizes: Tensor) -> Tensor:
        return super().forward(x, reference, sizes)


def recursive(y: Tensor, weights: Tensor) -> Tensor:
    """Filters the rows of y (C, H, W) from left to right, then from right to left, with weights (H, W)."""
    columns, weight = list(y.unbind(2)), weights.unbind(1)
    for at in range(1, len(columns)):
        columns[at] = columns[at] + weight[at] * (columns[at - 1] - columns[at])
    for at in range(len(columns) - 2, -1, -1):
        columns[at] = columns[at] + weight[at + 1] * (columns[at + 1] - columns[at])
    return torch.stack(columns, 2)


def check_map(setup: Setup) -> None:
    """Refuses a second bottom that is not one channel of the first bottom's size."""
    x, other = setup.bottoms[:2]
    if len(x) != 4 or other != (x[0], 1, *x[2:]):
        raise setup.error(
            "needs features and a one-channel map of the same size",
            found=f"{x} and {other}",
            expected="(N, C, H, W) and (N, 1, H, W)",
        )
