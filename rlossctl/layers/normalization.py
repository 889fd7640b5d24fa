"""BatchNorm, Scale and Bias: normalisation with stored statistics, and the affine map after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlossctl.layers import batch_statistics
from rlossctl.layers.running_statistics import AffineBatchNorm
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.net.registry import computes
from rlossctl.outlines.normalization import (
    BatchNormOutline,
    BiasOutline,
    Broadcast,
    GroupNormOutline,
    ScaleOutline,
    is_affine,
)


@computes("BatchNorm")
class BatchNorm(BatchNormOutline, Layer):
    """(x - mean) / sqrt(variance + eps) per channel; no affine part (batch_norm_layer.cpp).

    Blobs: running sum of means, running sum of variances, and the scale that divides both (0 counts as an
    infinite scale, so fresh statistics are 0). use_global_stats defaults to true in TEST and false in TRAIN;
    with false the batch's own mean and biased variance are used and the sums are updated. The blobs never get
    a gradient, and their lr_mult is 0, unless a ParamSpec in the rloss fork says otherwise. With scale_bias,
    scale_filler or bias_filler it is NVCaffe's layer (`rlossctl.layers.running_statistics`), which has scale
    and bias as two more blobs. Not reproduced: the rloss fork's path with batch statistics ignores the
    variance (here: as in BVLC), and its update_global_stats: true is refused.
    """

    low_precision = True

    def __new__(cls, setup: Setup) -> Any:
        affine = is_affine(setup.message.batch_norm_param)
        return AffineBatchNorm(setup) if affine else super().__new__(cls, setup)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._total: Callable[[Tensor], Tensor] | None = None  # see share_statistics
        self.register_buffer("mean", None, persistent=False)  # see settle
        self.register_buffer("variance", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._normalized(x)

    def joins(self, follower: Layer) -> bool:
        return isinstance(follower, Scale) and follower.of_channels

    def forward_joined(self, x: Tensor, follower: Layer) -> Tensor:
        return self._normalized(x, *follower.blobs)

    def _normalized(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """The normalised x, then scaled and shifted per channel."""
        if self.frozen:
            return F.batch_norm(x, *self.statistics(), scale, shift, eps=self.eps)
        if self._total is not None and not x.is_meta:
            shared = batch_statistics.of_shared_batch(x, self._total)
            self._update(shared)
            return _affine(batch_statistics.normalized(x, shared, self.eps), scale, shift)
        if not x.is_meta:
            self._update(batch_statistics.of_batch(x.detach()))
        # Not F.batch_norm, which refuses a single value per channel; in Caffe that value is its own mean.
        return torch.batch_norm(x, scale, shift, None, None, True, 0.0, self.eps, False)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if not self.frozen:
            return None
        mean, variance = self.statistics()
        affine = graph.filled("scale", len(mean), 1), graph.filled("shift", len(mean), 0)
        stored = graph.weight("mean", mean), graph.weight("variance", variance)
        return graph.node("BatchNormalization", x, *affine, *stored, epsilon=self.eps)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance: the stored sums divided by the stored scale."""
        if self.mean is not None:
            return self.mean, self.variance
        total_mean, total_variance, scale = self.blobs
        factor = torch.where(scale == 0, torch.zeros_like(scale), 1 / scale)
        return total_mean * factor, total_variance * factor

    def moving(self) -> Sequence[nn.Parameter]:
        return () if self.frozen else list(self.blobs)

    def hold_statistics(self) -> bool:
        self.frozen = True
        return True

    def share_statistics(self, total: Callable[[Tensor], Tensor]) -> bool:
        self._total = None if self.frozen else total
        self.compilable = self.frozen
        return not self.frozen

    @torch.no_grad()
    def settle(self) -> None:
        """Divides the sums once, so that an exported graph holds plain statistics."""
        if self.frozen:
            self.mean, self.variance = self.statistics()

    @torch.no_grad()
    def _update(self, batch: batch_statistics.Statistics) -> None:
        mean, variance, count = batch
        correction = count / (count - 1) if count > 1 else 1.0
        total_mean, total_variance, scale = self.blobs
        scale.mul_(self.fraction).add_(1)
        total_mean.mul_(self.fraction).add_(mean)
        total_variance.mul_(self.fraction).add_(variance, alpha=correction)


@computes("GroupNorm")
class GroupNorm(GroupNormOutline, Layer):
    """(x - mean) / sqrt(variance + eps) * scale + shift, with the statistics of each image's channel groups.

    PyTorch's GroupNorm (Wu and He 2018): the biased variance; eps defaults to 1e-5, group to 32. Blobs, (C):
    scale, filled with 1, and shift, filled with 0. TRAIN and TEST are the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.blobs[0], self.blobs[1], self.eps)


class _Broadcast(Broadcast, Layer):
    """Holds the second operand of Scale and Bias: a learned blob (1 bottom) or bottom 1, along the axes of
    bottom 0 from `axis` on."""

    def operand(self, bottom: Tensor | None) -> Tensor:
        """The learned blob, or bottom 1 if there is one; see `spread`."""
        return self.spread(self.blobs[0] if bottom is None else bottom)

    def spread(self, blob: Tensor) -> Tensor:
        """Adds axes of 1 at the end, so that it broadcasts over bottom 0."""
        return blob.reshape(tuple(blob.shape) + (1,) * self.trailing)

    def write_operand(self, graph: OnnxGraph, bottom: OnnxValue | None) -> OnnxInput:
        """`operand` as a value of the graph."""
        if bottom is None:
            return self.write_blob(graph, 0)
        rank = len(bottom.shape)
        axes = list(range(rank, rank + self.trailing))
        return graph.node("Unsqueeze", bottom, graph.integers("axes", axes)) if axes else bottom

    def write_blob(self, graph: OnnxGraph, index: int) -> str:
        """`spread` of a learned blob as a weight of the graph."""
        blob = self.blobs[index]
        return graph.weight(str(index % len(self.blobs)), blob, (*blob.shape, *(1,) * self.trailing))


@computes("Scale")
class Scale(ScaleOutline, _Broadcast):
    """Product with a learned blob (1 bottom) or with bottom 1, broadcast from `axis` on (scale_layer.cpp).

    The learned blob has the bottom's axes axis .. axis + num_axes - 1 (num_axes -1: to the end; 0: scalar)
    and is filled with 1 by default. bias_term adds a learned bias of the same shape, 0 by default.
    """

    @property
    def of_channels(self) -> bool:
        """Whether it has a learned factor for each channel."""
        return len(self.setup.bottoms) == 1 and self.axis == 1 and len(self.size) == 1

    def forward(self, x: Tensor, factor: Tensor | None = None) -> Tensor:
        y = x * self.operand(factor)
        return y + self.spread(self.blobs[-1]) if self.has_bias else y

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, factor: OnnxValue | None = None) -> Written:
        y = graph.node("Mul", x, self.write_operand(graph, factor))
        return graph.node("Add", y, self.write_blob(graph, -1)) if self.has_bias else y


@computes("Bias")
class Bias(BiasOutline, _Broadcast):
    """Sum with a learned blob (1 bottom) or with bottom 1, broadcast from `axis` on (bias_layer.cpp).

    The learned blob's shape follows axis and num_axes as in Scale; it is filled with 0 by default.
    """

    def forward(self, x: Tensor, term: Tensor | None = None) -> Tensor:
        return x + self.operand(term)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue, term: OnnxValue | None = None) -> Written:
        return graph.node("Add", x, self.write_operand(graph, term))


def _affine(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """x times the scale plus the shift, per channel; without those that are None."""
    size = (1, -1, *(1,) * (x.dim() - 2))
    x = x if scale is None else x * scale.reshape(size)
    return x if shift is None else x + shift.reshape(size)
