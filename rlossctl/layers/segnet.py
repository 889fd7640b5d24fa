"""BN and Upsample: the layers that the forks of SegNet and ENet added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.layers import batch_statistics
from rlossctl.layers.running_statistics import RunningBN
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import INT64, OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.segnet import BNOutline, NearestOutline, UpsampleOutline
from rlossctl.prototxt.dialect import four_blobs

EPSILON = 1e-9


@computes("BN")
class BN(BNOutline, Layer):
    """scale * (x - mean) / sqrt(variance + 1e-9) + shift per channel (bn_layer.cpp); PSPNet's BN has running
    statistics.

    With slope_filler, bias_filler, momentum, eps, frozen or four param entries it is PSPNet's and ICNet's:
    see `rlossctl.layers.running_statistics`. The rest describes SegNet's. Blobs: scale and shift,
    (1, C, 1, 1), filled with 0 unless a filler says otherwise. LEARN, the default, uses the batch's own mean
    and biased variance, also in TEST; tops 2 and 3 hold them, without a gradient. INFERENCE is
    scale * x + shift: the statistics must be folded into the blobs first (`rlossctl convert --fold-bn`). Not
    reproduced: the original computes the variance as E[x^2] - E[x]^2 (wrong by 2e-3 at a mean of 100
    deviations, NaN if the input is constant), and with iter_size only the last pass reaches its gradient.
    """

    def __new__(cls, setup: Setup) -> Any:
        return RunningBN(setup) if four_blobs(setup.message) else super().__new__(cls, setup)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._total: Callable[[Tensor], Tensor] | None = None  # see share_statistics

    def share_statistics(self, total: Callable[[Tensor], Tensor]) -> bool:
        self._total = total if self.learns else None
        return self.learns

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        scale, shift = self.blobs
        if not self.learns:
            return scale * x + shift
        if self._total is not None and not x.is_meta:
            shared = batch_statistics.of_shared_batch(x, self._total)
            y = batch_statistics.normalized(x, shared, EPSILON) * scale + shift
            tops = (blob.detach().reshape(scale.shape) for blob in (shared.mean, shared.variance))
            return (y, *tops)[: self.setup.tops] if self.setup.tops > 1 else y
        # Unlike F.batch_norm, this function also takes a batch of one value, as Caffe does.
        y = torch.batch_norm(x, scale.flatten(), shift.flatten(), None, None, True, 0.0, EPSILON, False)
        if self.setup.tops == 1:
            return y
        variance, mean = torch.var_mean(x.detach(), (0, 2, 3), correction=0, keepdim=True)
        return (y, mean, variance)[: self.setup.tops]

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.setup.tops > 1:
            return None
        scale, shift = (graph.weight(str(n), blob, blob.shape[1:]) for n, blob in enumerate(self.blobs))
        y: OnnxInput = x
        if self.learns:
            axes = graph.integers("axes", [0, 2, 3])
            centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes))
            variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), axes)
            y = graph.node("Div", centred, graph.node("Sqrt", graph.scaled(variance, 1, EPSILON)))
        return graph.node("Add", graph.node("Mul", y, scale), shift)


@computes("Upsample")
class Upsample(UpsampleOutline, Layer):
    """Zeros, with each value of bottom 0 at its index from bottom 1 (upsample_layer.cpp); without bottom 1
    every value is repeated.

    With one bottom it is darknet2caffe's layer of the same name (upsample_layer.cpp of YOLO's forks): it
    repeats each value `scale` times in both directions (default 2; some call it stride). Bottom 1 is the
    second top of a MAX Pooling layer: flat indices, read with the width of the *output* plane. If an index
    occurs twice, the last value wins (on a GPU: one of them, as in Caffe), but the gradient goes to all of
    them. Output size: upsample_h x upsample_w, else the bottom's size times scale (or scale_h, scale_w;
    default 2), minus one if pad_out_h or pad_out_w is set. An index outside the plane is an error.
    """

    compilable = False

    def __new__(cls, setup: Setup) -> Any:
        return Nearest(setup) if len(setup.bottoms) == 1 else super().__new__(cls, setup)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return put_back(self, x, mask, self.output_size(x.shape[2:]), "set upsample_h and upsample_w")

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, mask: OnnxValue) -> Written:
        known = x.sizes(1, 4)
        if known is None:
            return None
        return write_put_back(graph, x, mask, (known[0], *self.output_size(known[1:])))


class Nearest(NearestOutline, Layer):
    """See `Upsample`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=float(self.scale), mode="nearest")

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        scales = graph.numbers("scales", [self.scale] * 2)
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return graph.node("Resize", x, "", scales, axes=[2, 3], mode="nearest", **how)


def put_back(layer: Layer, x: Tensor, mask: Tensor, size: tuple[int, int], advice: str) -> Tensor:
    """Zeros (N, C, *size), with each value of x at the mask's flat index.

    Raises:
        NetError: an index is outside the plane; `advice` says how its size is set.
    """
    height, width = size
    index = mask.detach().flatten(2).long()
    if not (x.is_meta or torch.compiler.is_compiling()):
        _check(layer, index, height * width, advice)
    plane = x.new_zeros((x.shape[0], x.shape[1], height * width))
    return plane.scatter(2, index, x.flatten(2)).unflatten(2, (height, width))


def write_put_back(graph: OnnxGraph, x: OnnxValue, mask: OnnxValue, size: tuple[int, int, int]) -> str:
    """`put_back` as nodes; `size` is (C, H, W) of the result."""
    channels, height, width = size
    rows = graph.integers("planes", [0, 0, -1])
    index = graph.node("Reshape", graph.node("Cast", mask, to=INT64), rows)
    plane = graph.integers("plane", [channels, height * width])
    count = graph.sizes(x, 0, 1)
    zeros = graph.node("ConstantOfShape", graph.node("Concat", count, plane, axis=0))
    filled = graph.node("ScatterElements", zeros, index, graph.node("Reshape", x, rows), axis=2)
    return graph.node("Reshape", filled, graph.integers("size", [0, 0, height, width]))


def _check(layer: Layer, index: Tensor, size: int, advice: str) -> None:
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise layer.error(
            "an index of the mask is outside the output",
            found=f"{int(index.min())} to {int(index.max())}",
            expected=f"0 to {size - 1}",
            advice=f"{advice} to the size of the pooling layer's bottom",
        )
