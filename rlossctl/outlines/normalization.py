"""BatchNorm, GroupNorm, Scale and Bias: parameters and learned blobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe
from rlossctl.outlines.running_statistics import AffineBatchNormOutline
from rlossctl.prototxt.messages import BatchNormParameter, BiasParameter, FillerParameter, ScaleParameter


@describe("BatchNorm")
class BatchNormOutline(Outline):
    """See `rlossctl.layers.normalization.BatchNorm`."""

    default_lr_mult = 0.0
    keeps_shape = True

    def __new__(cls, setup: Setup) -> Any:
        if cls is BatchNormOutline and is_affine(setup.message.batch_norm_param):
            return AffineBatchNormOutline(setup)
        return super().__new__(cls)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.batch_norm_param
        specs = setup.message.param
        if setup.dialect == "bvlc":
            # BVLC's upgrade sets the rates of exactly three entries to 0; else it refuses any rate but 0.
            self.forced_lr_mult = 0.0
            if len(specs) != 3 and any(spec.lr_mult for spec in specs):
                raise setup.error(
                    "cannot learn its statistics",
                    found=[spec.lr_mult for spec in specs],
                    expected="lr_mult: 0 in every param",
                    advice="write `param { lr_mult: 0 }` three times, or leave the param entries out",
                )
        if param.update_global_stats:
            raise setup.error("update_global_stats: true is not available", expected="false")
        self.eps = param.eps
        self.fraction = param.moving_average_fraction
        frozen = param.use_global_stats if param.HasField("use_global_stats") else setup.phase == "TEST"
        self.frozen = frozen
        channels = setup.bottoms[0][1]
        for shape in ((channels,), (channels,), (1,)):
            self.add_blob(shape, learns=False)


def is_affine(param: BatchNormParameter) -> bool:
    """Whether a BatchNorm is NVCaffe's, with scale and bias."""
    return param.scale_bias or param.HasField("scale_filler") or param.HasField("bias_filler")


@describe("GroupNorm", source="rlossctl")
class GroupNormOutline(Outline):
    """See `rlossctl.layers.normalization.GroupNorm`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.group_norm_param, setup.bottoms[0]
        self.groups, self.eps = param.group, param.eps
        if len(shape) < 2 or not self.groups or shape[1] % self.groups:
            raise setup.error(
                "the groups must divide the channels",
                found=f"group: {self.groups} for a bottom of {shape}",
                expected="channels (axis 1) that are a multiple of group",
                advice="set group in group_norm_param",
            )
        self.add_blob(shape[1:2], FillerParameter(value=1))
        self.add_blob(shape[1:2])


class Broadcast(Outline):
    """Holds the second operand of Scale and Bias: a learned blob (1 bottom) or bottom 1, along the axes of
    bottom 0 from `axis` on."""

    def __init__(
        self, setup: Setup, param: ScaleParameter | BiasParameter, filler: FillerParameter | None
    ) -> None:
        super().__init__(setup)
        shape = setup.bottoms[0]
        if len(setup.bottoms) == 1:
            self.axis = canonical_axis(setup, param.axis, len(shape))
            self.size = _covered(setup, shape, self.axis, param.num_axes)
            self.add_blob(self.size, param.filler if param.HasField("filler") else filler)
        else:
            self.size = setup.bottoms[1]
            self.axis = 0 if not self.size else canonical_axis(setup, param.axis, len(shape))
            if shape[self.axis : self.axis + len(self.size)] != self.size:
                raise setup.error(
                    "bottom 1 does not fit bottom 0",
                    found=self.size,
                    expected=f"axes of {shape} from {self.axis} on",
                )
        self.trailing = len(shape) - self.axis - len(self.size)

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        shape, size = bottoms[0], self.size if len(bottoms) == 1 else bottoms[1]
        same = (len(shape), len(size)) == (len(self.setup.bottoms[0]), len(self.size))
        return (Top(shape),) if same and shape[self.axis : self.axis + len(size)] == size else None


@describe("Scale", bottoms=(1, 2))
class ScaleOutline(Broadcast):
    """See `rlossctl.layers.normalization.Scale`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        param = setup.message.scale_param
        super().__init__(setup, param, FillerParameter(value=1.0))
        self.has_bias = param.bias_term
        if self.has_bias:
            self.add_blob(self.size, param.bias_filler if param.HasField("bias_filler") else None)


@describe("Bias", bottoms=(1, 2))
class BiasOutline(Broadcast):
    """See `rlossctl.layers.normalization.Bias`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, setup.message.bias_param, None)


def _covered(setup: Setup, shape: Shape, axis: int, num_axes: int) -> Shape:
    if num_axes < -1 or (num_axes > 0 and axis + num_axes > len(shape)):
        raise setup.error("num_axes goes beyond the bottom", found=num_axes, expected=f"bottom {shape}")
    return shape[axis:] if num_axes == -1 else shape[axis : axis + num_axes]
