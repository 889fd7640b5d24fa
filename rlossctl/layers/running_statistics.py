"""Normalisation with running statistics, scale and shift in one layer: PSPNet's BN, NVCaffe's BatchNorm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlossctl.layers import batch_statistics
from rlossctl.net.layer import Layer
from rlossctl.net.onnx_graph import OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.outlines.running_statistics import (
    AffineBatchNormOutline,
    NormOutline,
    RunningBNOutline,
    StatisticsOutline,
)


class RunningStatistics(StatisticsOutline, Layer):
    """A layer that normalises, all that it does or a part of it, with running statistics.

    A subclass declares the blobs, names them (`scale`, `shift`, `running`) and sets eps, momentum and frozen.

    Attributes:
        unbiased: whether the running variance is of unbiased ones, as in PyTorch.
    """

    unbiased = False
    _total: Callable[[Tensor], Tensor] | None = None  # see share_statistics

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift."""
        raise TypeError(f"{type(self).__name__} names no blobs")

    def running(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Running mean and variance."""
        raise TypeError(f"{type(self).__name__} names no blobs")

    def moving(self) -> Sequence[nn.Parameter]:
        return () if self.frozen else self.running()

    def hold_statistics(self) -> bool:
        self.frozen = True
        return True

    def share_statistics(self, total: Callable[[Tensor], Tensor]) -> bool:
        self._total = None if self.frozen else total
        self.compilable = self.compilable and self.frozen
        return not self.frozen

    def normalize(self, x: Tensor) -> Tensor:
        """The normalised x, per channel; moves the running statistics unless frozen."""
        mean, variance = (blob.flatten() for blob in self.running())
        scale, shift = (blob.flatten() for blob in self.affine())
        if self.frozen:
            return F.batch_norm(x, mean, variance, scale, shift, eps=self.eps)
        if self._total is not None and not x.is_meta:
            shared = batch_statistics.of_shared_batch(x, self._total)
            self._update(shared)
            size = (1, -1, *(1,) * (x.dim() - 2))
            return batch_statistics.normalized(x, shared, self.eps) * scale.reshape(size) + shift.reshape(
                size
            )
        if not x.is_meta:
            self._update(batch_statistics.of_batch(x.detach()))
        return torch.batch_norm(x, scale, shift, None, None, True, 0.0, self.eps, False)

    def write_normalize(self, graph: OnnxGraph, x: OnnxInput) -> str:
        """`normalize` with frozen statistics, as a node."""
        names = zip(("scale", "shift", "mean", "variance"), (*self.affine(), *self.running()), strict=True)
        weights = [graph.weight(name, blob, (blob.numel(),)) for name, blob in names]
        return graph.node("BatchNormalization", x, *weights, epsilon=self.eps)

    @torch.no_grad()
    def _update(self, batch: batch_statistics.Statistics) -> None:
        variance = batch.variance
        if self.unbiased and batch.values > 1:
            variance = variance * (batch.values / (batch.values - 1))
        for blob, value in zip(self.running(), (batch.mean, variance), strict=True):
            blob.mul_(self.momentum).add_(value.reshape(blob.shape), alpha=1 - self.momentum)


class RunningNorm(NormOutline, RunningStatistics):
    """A layer that only normalises."""

    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return self.normalize(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return self.write_normalize(graph, x) if self.frozen else None


class RunningBN(RunningBNOutline, RunningNorm):
    """PSPNet's and ICNet's BN: slope * (x - mean) / sqrt(variance + eps) + bias (yjxiong's bn_layer.cpp).

    Blobs, (1, C): slope, bias, running mean, running variance, all filled with 0 unless slope_filler and
    bias_filler say otherwise. TEST, and TRAIN with frozen: true, use the running statistics; frozen also
    keeps slope and bias constant. TRAIN without frozen uses the batch's own mean and biased variance; a new
    running statistic is momentum (default 0.9) times the old one plus 1 - momentum times the batch's. eps
    defaults to 1e-5.
    """

    def affine(self) -> tuple[Tensor, Tensor]:
        return self.blobs[0], self.blobs[1]

    def running(self) -> tuple[nn.Parameter, nn.Parameter]:
        return self.blobs[2], self.blobs[3]


class AffineBatchNorm(AffineBatchNormOutline, RunningNorm):
    """NVCaffe's BatchNorm with scale_bias, or scale_filler or bias_filler (batch_norm_layer.cpp of NVCaffe).

    Blobs: mean, variance, a correction that is 1 and not used, scale (filled with 1) and bias (0). Unlike in
    Caffe, the statistics are stored directly, not as sums. The solver changes scale and bias with rates of 1,
    whatever the param entries say. Not reproduced: the first two batches of a run replace the statistics
    (here: moving_average_fraction applies from the start).
    """

    def affine(self) -> tuple[Tensor, Tensor]:
        return self.blobs[3], self.blobs[4]

    def running(self) -> tuple[nn.Parameter, nn.Parameter]:
        return self.blobs[0], self.blobs[1]
