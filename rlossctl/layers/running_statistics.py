"""Normalisation with running statistics, scale and shift in one layer: PSPNet's BN, NVCaffe's BatchNorm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlossctl.layers import batch_statistics
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxInput, OnnxValue, Written
from rlossctl.prototxt.messages import FillerParameter

_STATISTICS = (0.0, 0.0)  # lr_mult and decay_mult of blobs that the solver does not change


class RunningStatistics(Layer):
    """A layer that normalises, all that it does or a part of it, with running statistics.

    A subclass declares the blobs, names them (`scale`, `shift`, `running`) and sets eps, momentum and frozen.

    Attributes:
        eps: added to the variance.
        momentum: the share of a running statistic that an update keeps.
        frozen: True uses the running statistics and does not change them; False uses the batch's own mean and
            biased variance.
        unbiased: whether the running variance is of unbiased ones, as in PyTorch.
    """

    eps: float
    momentum: float
    frozen: bool
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

    def add_statistics(self, shape: Sequence[int], *fillers: FillerParameter | None) -> None:
        """Declares blobs that the solver does not change."""
        for filler in fillers:
            self.add_blob(shape, filler)
            self.blobs[-1].requires_grad_(False)
            self.forced_rates = {**self.forced_rates, len(self.blobs) - 1: _STATISTICS}

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


class RunningNorm(RunningStatistics):
    """A layer that only normalises."""

    keeps_shape = True
    low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        return self.normalize(x)

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        return self.write_normalize(graph, x) if self.frozen else None


class RunningBN(RunningNorm):
    """PSPNet's and ICNet's BN: slope * (x - mean) / sqrt(variance + eps) + bias (yjxiong's bn_layer.cpp).

    Blobs, (1, C): slope, bias, running mean, running variance, all filled with 0 unless slope_filler and
    bias_filler say otherwise. TEST, and TRAIN with frozen: true, use the running statistics; frozen also
    keeps slope and bias constant. TRAIN without frozen uses the batch's own mean and biased variance; a new
    running statistic is momentum (default 0.9) times the old one plus 1 - momentum times the batch's. eps
    defaults to 1e-5.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.bn_param, setup.bottoms[0]
        if len(shape) < 2 or setup.tops != 1:
            raise setup.error("needs a bottom with channels (axis 1) and one top", found=shape)
        if param.HasField("scale_filler") or param.HasField("shift_filler") or param.HasField("bn_mode"):
            raise setup.error(
                "mixes the fields of two kinds of BN",
                found="scale_filler, shift_filler or bn_mode beside slope_filler, bias_filler, momentum, "
                "eps or frozen, or beside four param entries",
                expected="the fields of SegNet's BN, or those of PSPNet's",
            )
        self.eps, self.momentum = param.eps, param.momentum
        self.frozen = param.frozen or setup.phase == "TEST"
        size = (1, shape[1])
        for name in ("slope_filler", "bias_filler"):
            self.add_blob(size, getattr(param, name) if param.HasField(name) else None)
        self.add_statistics(size, None, None)
        if param.frozen:
            self.forced_lr_mult = 0.0

    def affine(self) -> tuple[Tensor, Tensor]:
        return self.blobs[0], self.blobs[1]

    def running(self) -> tuple[nn.Parameter, nn.Parameter]:
        return self.blobs[2], self.blobs[3]


class AffineBatchNorm(RunningNorm):
    """NVCaffe's BatchNorm with scale_bias, or scale_filler or bias_filler (batch_norm_layer.cpp of NVCaffe).

    Blobs: mean, variance, a correction that is 1 and not used, scale (filled with 1) and bias (0). Unlike in
    Caffe, the statistics are stored directly, not as sums. The solver changes scale and bias with rates of 1,
    whatever the param entries say. Not reproduced: the first two batches of a run replace the statistics
    (here: moving_average_fraction applies from the start).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.batch_norm_param, setup.bottoms[0]
        if len(shape) < 2:
            raise setup.error("needs a bottom with channels (axis 1)", found=shape)
        self.eps, self.momentum = max(param.eps, 1e-5), param.moving_average_fraction
        self.frozen = param.use_global_stats or setup.phase == "TEST"
        one = FillerParameter(value=1)
        self.add_statistics(shape[1:2], None, None)
        self.add_statistics((1,), one)
        self.add_blob(shape[1:2], param.scale_filler if param.HasField("scale_filler") else one)
        self.add_blob(shape[1:2], param.bias_filler if param.HasField("bias_filler") else None)
        self.forced_rates = {**self.forced_rates, 3: (1.0, 1.0), 4: (1.0, 1.0)}

    def affine(self) -> tuple[Tensor, Tensor]:
        return self.blobs[3], self.blobs[4]

    def running(self) -> tuple[nn.Parameter, nn.Parameter]:
        return self.blobs[0], self.blobs[1]
