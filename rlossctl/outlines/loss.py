"""SoftmaxWithLoss and DenseCRFLoss: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

from rlossctl.bilateral.limits import MAX_FEATURES
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


@describe("DenseCRFLoss", source="rloss", bottoms=(2, 4), automatic_tops=1, role="loss")
class DenseCRFLossOutline(Outline):
    """See `rlossctl.layers.loss.DenseCRFLoss`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.densecrf_loss_param
        self.sigma_xy, self.sigma_rgb = param.bi_xy_std, param.bi_rgb_std
        self.mode = param.Mode.Name(param.mode).lower()
        # The builder multiplies by the weight; knowing it here saves the backward pass a product.
        self.upstream = setup.message.loss_weight[0] if setup.message.loss_weight else 1.0
        image, seg, *others = setup.bottoms
        self.feature_std = tuple(param.feature_std)
        features, masks = (others[:1], others[1:]) if self.feature_std else ([], others)
        if len(masks) > 1 or len(features) < bool(self.feature_std):
            raise setup.error(
                "bottoms must be image, segmentation, features if feature_std is set, and perhaps a mask",
                found=f"{len(setup.bottoms)} bottoms, feature_std {list(self.feature_std) or 'not set'}",
                advice="set feature_std for a bottom with features, or leave one of the two out",
            )
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
        for own in features:
            _check_features(setup, own, seg, image[1])
        if setup.message.propagate_down and setup.message.propagate_down[0]:
            raise setup.error("has no gradient to the image", found="propagate_down: true", expected="false")

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top((1, 1, 1, 1)),) if tuple(bottoms) == tuple(self.setup.bottoms) else None


def _check_features(setup: Setup, features: tuple[int, ...], seg: tuple[int, ...], colours: int) -> None:
    """Raises the layer's error if the bottom with features does not fit."""
    if len(features) != 4 or features[0] != seg[0] or features[2:] != seg[2:]:
        raise setup.error(
            "features and segmentation must have the same batch size, height and width",
            found=f"features {features}, segmentation {seg}",
            advice="resize the features with Interp",
        )
    count, stds = features[1], setup.message.densecrf_loss_param.feature_std
    if len(stds) not in (1, count) or not all(0 < std < inf for std in stds):
        raise setup.error(
            "feature_std must have one standard deviation above 0, or one for each channel of the features",
            found=f"feature_std {list(stds)}, {count} channels",
        )
    if 2 + colours + count > MAX_FEATURES:
        raise setup.error(
            f"the filter has at most {MAX_FEATURES} dimensions",
            found=f"2 of the place, {colours} of the image and {count} of the third bottom",
            advice="give it fewer channels, such as a grey image",
        )
