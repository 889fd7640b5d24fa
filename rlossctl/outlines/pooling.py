"""Pooling and AdaptivePooling: windows, and Caffe's and PyTorch's sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup, Shape, Top
from rlossctl.net.registry import describe
from rlossctl.prototxt.messages import PoolingParameter, UnpoolingParameter


@describe("Pooling", tops=(1, 2))
class PoolingOutline(Outline):
    """See `rlossctl.layers.pooling.Pooling`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.pooling_param
        self.param = param
        if len(setup.bottoms[0]) != 4:
            raise setup.error("needs a 4-D bottom", found=setup.bottoms[0])
        if setup.tops == 2 and param.pool != PoolingParameter.MAX:
            raise setup.error("a second top (the mask) exists only for MAX pooling", found="pool: AVE")
        self.is_max = param.pool == PoolingParameter.MAX
        self.is_stochastic = param.pool == PoolingParameter.STOCHASTIC
        self.draws = self.is_stochastic and setup.phase == "TRAIN"
        if self.draws:
            self.unexportable = "STOCHASTIC pooling draws at random in TRAIN"
        self.is_global = param.global_pooling
        self.low_precision = setup.tops == 1 and not self.is_stochastic  # 16 bits cannot hold every position
        self.floor = _rounds_down(setup, param)
        if not self.is_global:
            self._read_window(setup)

    def _read_window(self, setup: Setup) -> None:
        param = self.param
        self.kernel = window_pair(setup, param, "kernel_size", "kernel", None)
        self.stride = window_pair(setup, param, "stride", "stride", 1)
        self.pad = window_pair(setup, param, "pad", "pad", 0)
        for kernel, pad in zip(self.kernel, self.pad, strict=True):
            if pad and self.is_stochastic:
                raise setup.error("STOCHASTIC pooling has no padding", found=f"pad {pad}", expected="pad: 0")
            if pad >= kernel:
                raise setup.error("pad must be smaller than the kernel", found=f"pad {pad}, kernel {kernel}")

    def _output_size(self, size: int, axis: int) -> int:
        span = size + 2 * self.pad[axis] - self.kernel[axis]
        stride = self.stride[axis]
        out = (span // stride if self.floor else -(-span // stride)) + 1
        if any(self.pad) and (out - 1) * stride >= size + self.pad[axis]:
            out -= 1
        return out

    def window(self) -> tuple[float, float]:
        if self.is_global:
            return float(max(self.setup.bottoms[0][2:])), 1.0
        return float(self.kernel[-1]), float(self.stride[-1])

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        if len(bottom) != 4:
            return None
        sizes = [
            1 if self.is_global else self._output_size(size, axis) for axis, size in enumerate(bottom[2:])
        ]
        if min(*sizes, *bottom[2:]) < 1:
            return None
        return (Top((*bottom[:2], *sizes)),) * self.setup.tops


@describe("AdaptivePooling", source="rlossctl", bottoms=(1, 2))
class AdaptivePoolingOutline(Outline):
    """See `rlossctl.layers.pooling.AdaptivePooling`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.adaptive_pooling_param
        self.bins = param.output_size if param.HasField("output_size") else None
        self.factor = param.factor if param.HasField("factor") else None
        self.rounds_size = self.factor is not None
        self.least = param.at_least
        rules = [value for value in (self.bins, self.factor) if value is not None]
        if len(rules) + len(setup.bottoms) != 2 or any(not 0 < value < math.inf for value in rules):
            raise setup.error(
                "needs one size, which must be positive",
                found=rules,
                expected="a positive output_size, a positive factor, or a second bottom",
            )
        if any(len(shape) != 4 for shape in setup.bottoms):
            raise setup.error("needs 4-D bottoms", found=setup.bottoms)

    def bins_of(self, size: int, axis: int, reference: Shape | None = None) -> int:
        """The number of bins on an axis."""
        if reference is not None:
            return reference[axis]
        if self.factor is not None:
            return max(self.least, math.ceil(size * self.factor))
        assert self.bins is not None
        return self.bins

    def window(self) -> tuple[float, float]:
        size = self.setup.bottoms[0][3]
        bins = self.setup.bottoms[1][3] if len(self.setup.bottoms) > 1 else self.bins_of(size, 3)
        return float(-(-size // bins)), size / bins

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        bottom, *reference = bottoms
        if any(len(shape) != 4 for shape in bottoms):
            return None
        sizes = (self.bins_of(bottom[axis], axis, *reference) for axis in (2, 3))
        return (Top((*bottom[:2], *sizes)),)


def _rounds_down(setup: Setup, param: PoolingParameter) -> bool:
    """Whether the output size is rounded down, by round_mode or the older forks' ceil_mode."""
    floor = param.round_mode == PoolingParameter.FLOOR
    if not param.HasField("ceil_mode"):
        return floor
    if param.HasField("round_mode") and floor == param.ceil_mode:
        raise setup.error(
            "round_mode and ceil_mode contradict each other",
            found=f"round_mode: {'FLOOR' if floor else 'CEIL'} and ceil_mode: {str(param.ceil_mode).lower()}",
            expected="one of them",
        )
    return not param.ceil_mode


def window_pair(
    setup: Setup, param: PoolingParameter | UnpoolingParameter, single: str, pair: str, default: int | None
) -> tuple[int, int]:
    """Rows and columns of a kernel, stride or pad in either of Caffe's forms (single, or _h and _w)."""
    height, width = f"{pair}_h", f"{pair}_w"
    if param.HasField(height) or param.HasField(width):
        if param.HasField(single):
            raise setup.error(f"{single} excludes {pair}_h and {pair}_w")
        both = getattr(param, height), getattr(param, width)
        if default != 0 and 0 in both:
            raise setup.error(f"{pair}_h and {pair}_w must both be positive", found=both)
        return both
    value = getattr(param, single)
    if default is None and value == 0:
        raise setup.error("needs kernel_size, or kernel_h and kernel_w, or global_pooling: true")
    if default == 1 and value == 0:
        raise setup.error("stride must be positive", found=0)
    return value, value
