"""PSPNet's BN and NVCaffe's BatchNorm: parameters and learned blobs."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup
from rlossctl.prototxt.messages import FillerParameter

_STATISTICS = (0.0, 0.0)  # lr_mult and decay_mult of blobs that the solver does not change


class StatisticsOutline(Outline):
    """What layers with running statistics declare.

    Attributes:
        eps: added to the variance.
        momentum: the share of a running statistic that an update keeps.
        frozen: True uses the running statistics and does not change them; False uses the batch's own mean and
            biased variance.
    """

    eps: float
    momentum: float
    frozen: bool

    def add_statistics(self, shape: Sequence[int], *fillers: FillerParameter | None) -> None:
        """Declares blobs that the solver does not change."""
        for filler in fillers:
            self.forced_rates = {**self.forced_rates, len(self.blob_shapes): _STATISTICS}
            self.add_blob(shape, filler, learns=False)


class NormOutline(StatisticsOutline):
    """A layer that only normalises."""

    keeps_shape = True


class RunningBNOutline(NormOutline):
    """See `rlossctl.layers.running_statistics.RunningBN`."""

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


class AffineBatchNormOutline(NormOutline):
    """See `rlossctl.layers.running_statistics.AffineBatchNorm`."""

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
