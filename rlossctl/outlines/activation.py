"""Activations, Dropout and Softmax: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe


@describe("ReLU")
class ReLUOutline(Outline):
    """See `rlossctl.layers.activation.ReLU`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.slope = setup.message.relu_param.negative_slope


@describe("PReLU")
class PReLUOutline(Outline):
    """See `rlossctl.layers.activation.PReLU`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.prelu_param, setup.bottoms[0]
        if len(shape) < 2:
            raise setup.error("needs a bottom with a channel axis (axis 1)", found=shape)
        filler = type(param.filler)(value=0.25)
        self.add_blob(
            () if param.channel_shared else shape[1:2], param.filler if param.HasField("filler") else filler
        )


@describe("HardSwish", source="rlossctl")
class HardSwishOutline(Outline):
    """See `rlossctl.layers.activation.HardSwish`."""

    keeps_shape = True


@describe("HardSigmoid", source="rlossctl")
class HardSigmoidOutline(Outline):
    """See `rlossctl.layers.activation.HardSigmoid`."""

    keeps_shape = True


@describe("ReLU6", source="MobileNet forks")
class ReLU6Outline(Outline):
    """See `rlossctl.layers.activation.ReLU6`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.message.relu6_param.negative_slope:
            raise setup.error(
                "negative_slope has no agreed meaning here",
                found=setup.message.relu6_param.negative_slope,
                expected="0",
            )


@describe("ELU")
class ELUOutline(Outline):
    """See `rlossctl.layers.activation.ELU`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.alpha = setup.message.elu_param.alpha


@describe("SELU", source="self-normalizing forks")
@describe("SeLU", source="self-normalizing forks")
@describe("SeLu", source="self-normalizing forks")
class SeLUOutline(Outline):
    """See `rlossctl.layers.activation.SeLU`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.selu_param
        self.scale, self.alpha = getattr(param, "lambda"), param.alpha


@describe("Sigmoid")
class SigmoidOutline(Outline):
    """See `rlossctl.layers.activation.Sigmoid`."""

    keeps_shape = True


@describe("TanH")
class TanHOutline(Outline):
    """See `rlossctl.layers.activation.TanH`."""

    keeps_shape = True


@describe("BNLL")
class BNLLOutline(Outline):
    """See `rlossctl.layers.activation.BNLL`."""

    keeps_shape = True


@describe("Swish")
class SwishOutline(Outline):
    """See `rlossctl.layers.activation.Swish`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.beta = setup.message.swish_param.beta


@describe("Dropout")
class DropoutOutline(Outline):
    """See `rlossctl.layers.activation.Dropout`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.dropout_param
        self.ratio = param.dropout_ratio
        if not 0 < self.ratio < 1:
            raise setup.error("dropout_ratio must be between 0 and 1", found=self.ratio)
        if param.whole_channels and len(setup.bottoms[0]) != 4:
            raise setup.error("whole_channels needs a 4-D bottom", found=setup.bottoms[0])
        self.scale = 1 if param.scale_train else 1 - self.ratio
        self.drops = setup.phase == "TRAIN" or param.sample_weights_test
        if self.drops:
            self.unexportable = "it draws at random (sample_weights_test: true, or phase TRAIN)"

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top(bottoms[0], None if self.drops or self.scale != 1 else 0),)


@describe("Softmax")
class SoftmaxOutline(Outline):
    """See `rlossctl.layers.activation.Softmax`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.axis = canonical_axis(setup, setup.message.softmax_param.axis, len(setup.bottoms[0]))

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top(bottoms[0]),) if self.axis < len(bottoms[0]) else None
