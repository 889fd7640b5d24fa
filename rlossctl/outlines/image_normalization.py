"""LRN, MVN and SSD's Normalize: parameters and learned blobs."""

from __future__ import annotations

from rlossctl.net.outline import Outline, Setup
from rlossctl.net.registry import describe
from rlossctl.prototxt.messages import LRNParameter


@describe("LRN")
class LRNOutline(Outline):
    """See `rlossctl.layers.image_normalization.LRN`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.lrn_param
        self.size, self.alpha, self.beta, self.k = param.local_size, param.alpha, param.beta, param.k
        self.within = param.norm_region == LRNParameter.WITHIN_CHANNEL
        if self.size % 2 == 0:
            raise setup.error("local_size must be odd", found=self.size)
        if len(setup.bottoms[0]) != 4:
            raise setup.error("needs a 4-D bottom", found=setup.bottoms[0])

    def window(self) -> tuple[float, float]:
        return (float(self.size) if self.within else 1.0), 1.0


@describe("MVN")
class MVNOutline(Outline):
    """See `rlossctl.layers.image_normalization.MVN`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.mvn_param
        self.divides, self.eps = param.normalize_variance, param.eps
        self.first = 1 if param.across_channels else 2
        if len(setup.bottoms[0]) < self.first:
            raise setup.error("needs a bottom with channels", found=setup.bottoms[0])


@describe("Normalize", source="SSD")
class NormalizeOutline(Outline):
    """See `rlossctl.layers.image_normalization.Normalize`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.norm_param, setup.bottoms[0]
        if len(shape) < 2:
            raise setup.error("needs a bottom with channels (axis 1)", found=shape)
        self.axes = list(range(1, len(shape))) if param.across_spatial else [1]
        self.eps = param.eps
        filler = param.scale_filler if param.HasField("scale_filler") else type(param.scale_filler)(value=1)
        self.add_blob(() if param.channel_shared else shape[1:2], filler)
