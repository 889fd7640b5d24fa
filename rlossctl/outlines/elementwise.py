"""Arithmetic on single values: parameters."""

from __future__ import annotations

import math

from rlossctl.net.outline import Outline, Setup
from rlossctl.net.registry import describe

NATURAL = -1.0  # the `base` of Exp and Log that means e


@describe("AbsVal")
class AbsValOutline(Outline):
    """See `rlossctl.layers.elementwise.AbsVal`."""

    keeps_shape = True


@describe("Power")
class PowerOutline(Outline):
    """See `rlossctl.layers.elementwise.Power`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.power_param
        self.power, self.scale, self.shift = param.power, param.scale, param.shift


@describe("Exp")
class ExpOutline(Outline):
    """See `rlossctl.layers.elementwise.Exp`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.exp_param
        log_base = _log_base(setup, param.base)
        self.inner = log_base * param.scale
        self.outer = math.exp(log_base * param.shift)


@describe("Log")
class LogOutline(Outline):
    """See `rlossctl.layers.elementwise.Log`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.log_param
        log_base = _log_base(setup, param.base)
        if not log_base:
            raise setup.error("base 1 has no logarithm", found=param.base)
        self.scale, self.shift, self.outer = param.scale, param.shift, 1 / log_base


@describe("Clip")
class ClipOutline(Outline):
    """See `rlossctl.layers.elementwise.Clip`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.clip_param
        if not param.HasField("min") or not param.HasField("max"):
            raise setup.error("needs clip_param with min and max")
        self.low, self.high = param.min, param.max
        if self.low > self.high:
            raise setup.error("min exceeds max", found=f"min {self.low}, max {self.high}")


@describe("Threshold", gradient=False)
class ThresholdOutline(Outline):
    """See `rlossctl.layers.elementwise.Threshold`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.threshold = setup.message.threshold_param.threshold


def _log_base(setup: Setup, base: float) -> float:
    if base == NATURAL:
        return 1.0
    if base <= 0:
        raise setup.error("base must be positive, or -1 for e", found=base)
    return math.log(base)
