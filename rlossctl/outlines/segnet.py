"""BN and Upsample of SegNet and ENet: parameters, learned blobs, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlossctl.net.outline import Outline, Setup, Shape, Top
from rlossctl.net.registry import describe
from rlossctl.outlines.running_statistics import RunningBNOutline
from rlossctl.prototxt.dialect import four_blobs
from rlossctl.prototxt.messages import BNParameter


@describe("BN", source="SegNet", tops=(1, 3))
class BNOutline(Outline):
    """See `rlossctl.layers.segnet.BN`."""

    keeps_shape = True

    def __new__(cls, setup: Setup) -> Any:
        if cls is BNOutline and four_blobs(setup.message):
            return RunningBNOutline(setup)
        return super().__new__(cls)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.bn_param
        shape = setup.bottoms[0]
        if len(shape) != 4:
            raise setup.error("needs a 4-D bottom", found=shape)
        self.learns = param.bn_mode != BNParameter.INFERENCE
        if setup.tops > 1 and not self.learns:
            raise setup.error("has no statistics to return", found="bn_mode: INFERENCE", expected="one top")
        for name in ("scale_filler", "shift_filler"):
            self.add_blob((1, shape[1], 1, 1), getattr(param, name) if param.HasField(name) else None)

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        statistics = [Top(self.blob_shapes[0])] * (self.setup.tops - 1)
        fits = len(bottom) == 4 and bottom[1] == self.blob_shapes[0][1]
        return (Top(bottom), *statistics) if fits else None


@describe("Upsample", source="SegNet", bottoms=(1, 2))
class UpsampleOutline(Outline):
    """See `rlossctl.layers.segnet.Upsample`."""

    def __new__(cls, setup: Setup) -> Any:
        if cls is UpsampleOutline and len(setup.bottoms) == 1:
            return NearestOutline(setup)
        return super().__new__(cls)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.upsample_param
        x, mask = setup.bottoms
        if len(x) != 4 or x != mask:
            raise setup.error("needs two 4-D bottoms of the same shape", found=f"{x} and {mask}")
        self.size = (param.upsample_h, param.upsample_w) if param.HasField("upsample_h") else None
        scales = (param.scale_h, param.scale_w) if param.HasField("scale_h") else (param.scale,) * 2
        self.scales, self.less = scales, (int(param.pad_out_h), int(param.pad_out_w))
        if min(self.size or self.scales) < 2:
            raise setup.error("sizes and scales must be above 1", found=self.size or self.scales)
        for scale, less in zip(self.scales, self.less, strict=True):
            if self.size is None and less and scale != 2:
                raise setup.error("pad_out_h and pad_out_w need a scale of 2", found=scale)

    def output_size(self, before: Sequence[int]) -> tuple[int, int]:
        if self.size is not None:
            return self.size
        height, width = (
            size * scale - less for size, scale, less in zip(before, self.scales, self.less, strict=True)
        )
        return height, width

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        x, mask = bottoms
        return (Top((*x[:2], *self.output_size(x[2:]))),) if len(x) == 4 and x == mask else None


class NearestOutline(Outline):
    """See `rlossctl.layers.segnet.Nearest`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.upsample_param
        if len(setup.bottoms[0]) != 4:
            raise setup.error("needs a 4-D bottom", found=setup.bottoms[0])
        if param.HasField("upsample_h") or param.pad_out_h or param.pad_out_w:
            raise setup.error(
                "with one bottom the size follows from the scale",
                found="upsample_h, upsample_w, pad_out_h or pad_out_w",
                expected="scale; or a second bottom, the mask of a Pooling layer, as in SegNet",
            )
        self.scale = param.stride if param.HasField("stride") else param.scale
        if self.scale < 1:
            raise setup.error("scale must be positive", found=self.scale)

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        if len(bottom) != 4 or min(bottom[2:]) < 1:
            return None
        return (Top((*bottom[:2], *(size * self.scale for size in bottom[2:]))),)
