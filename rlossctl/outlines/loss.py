"""SoftmaxWithLoss and DenseCRFLoss: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe
from rlossctl.prototxt.messages import LossParameter


@describe("SoftmaxWithLoss", bottoms=2, tops=(1, 2), automatic_tops=1, loss_weight=1.0, role="loss")
class SoftmaxWithLossOutline(Outline):
    """See `rlossctl.layers.loss.SoftmaxWithLoss`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.loss_param
        self.axis = canonical_axis(setup, setup.message.softmax_param.axis, len(setup.bottoms[0]))
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        fork = setup.dialect in ("segnet", "enet")
        by_weights = param.normalization == LossParameter.WEIGHTS
        self.normalization = LossParameter.VALID if fork and not by_weights else param.normalization
        if param.HasField("normalize") and not by_weights and (fork or not param.HasField("normalization")):
            self.normalization = LossParameter.VALID if param.normalize else LossParameter.BATCH_SIZE
        weights = list(param.class_weighting) if param.weight_by_label_freqs else None
        classes = setup.bottoms[0][self.axis]
        if weights is not None and len(weights) != classes:
            raise setup.error(
                "class_weighting must be given once per class", found=len(weights), expected=classes
            )
        # A plain attribute would follow neither .to() nor the meta device, where layers are built.
        self.class_weights = weights

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        scores, labels = bottoms
        positions = prod(scores[: self.axis]) * prod(scores[self.axis + 1 :])
        return (Top(()), Top(scores))[: self.setup.tops] if prod(labels) == positions else None


@describe("DenseCRFLoss", source="rloss", bottoms=(2, 3), automatic_tops=1, role="loss")
class DenseCRFLossOutline(Outline):
    """See `rlossctl.layers.loss.DenseCRFLoss`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.densecrf_loss_param
        self.sigma_xy, self.sigma_rgb = param.bi_xy_std, param.bi_rgb_std
        self.mode = param.Mode.Name(param.mode).lower()
        # The builder multiplies by the weight; knowing it here saves the backward pass a product.
        self.upstream = setup.message.loss_weight[0] if setup.message.loss_weight else 1.0
        image, seg, *masks = setup.bottoms
        if any(len(mask) != 4 or mask[0] != seg[0] or mask[2:] != seg[2:] for mask in masks):
            raise setup.error(
                "mask and segmentation must have the same batch size, height and width",
                found=f"mask {masks[0]}, segmentation {seg}",
                advice="resize the mask with Interp",
            )
        if len(image) != 4 or len(seg) != 4 or image[0] != seg[0] or image[2:] != seg[2:]:
            raise setup.error(
                "image and segmentation must have the same batch size, height and width",
                found=f"image {image}, segmentation {seg}",
                advice="resize the segmentation with Interp",
            )
        if setup.message.propagate_down and setup.message.propagate_down[0]:
            raise setup.error("has no gradient to the image", found="propagate_down: true", expected="false")

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top((1, 1, 1, 1)),) if tuple(bottoms) == tuple(self.setup.bottoms) else None
