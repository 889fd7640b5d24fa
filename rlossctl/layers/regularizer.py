"""Regularizers of soft segmentations that Caffe does not have: EntropyLoss, SizeLoss, PottsLoss and
NormalizedCutLoss."""

from __future__ import annotations

import math

from torch import Tensor

from rlossctl.losses import SizeBounds, entropy_loss
from rlossctl.losses import SizeLoss as SizeModule
from rlossctl.losses.entropy import unlabelled_weights
from rlossctl.losses.inputs import counting
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import EntropyLossParameter, SizeLossParameter


@register("EntropyLoss", source="rlossctl", bottoms=(1, 3), automatic_tops=1, role="loss")
class EntropyLoss(Layer):
    """Mean of -sum p ln p over the pixels that count (rlossctl.losses.entropy_loss).

    Bottoms: probabilities, and a mask that is not 0 where pixels count; without it all do. With region:
    UNLABELLED bottom 1 holds labels, and the pixels of loss_param.ignore_label count. With `distance` (in
    pixels) each of them counts exp(-d / distance) times, d the distance to the nearest labelled pixel. A
    third bottom is a mask or the image, whose padding, 0 in every channel, does not count. The loss weight
    has no default: it is 0 unless given.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, loss_param = setup.message.entropy_loss_param, setup.message.loss_param
        self.unlabelled = param.region == EntropyLossParameter.UNLABELLED
        self.distance, self.ignore = param.distance or None, loss_param.ignore_label
        most = 3 if self.unlabelled else 2
        if len(setup.bottoms) > most or (self.unlabelled and len(setup.bottoms) < 2):
            expected = "probabilities, labels and perhaps a mask" if most == 3 else "probabilities and a mask"
            raise setup.error("wrong number of bottoms", found=len(setup.bottoms), expected=expected)
        if self.unlabelled and not loss_param.HasField("ignore_label"):
            raise setup.error(
                "does not know which label stands for none",
                found="region: UNLABELLED without loss_param",
                expected="loss_param { ignore_label: 255 }",
            )
        if self.distance is not None and not self.unlabelled:
            raise setup.error(
                "takes a distance to labels alone",
                found=f"distance: {self.distance:g} with region: MASK",
                expected="region: UNLABELLED",
            )

    def forward(self, prob: Tensor, *others: Tensor) -> Tensor:
        with self.naming():
            if not self.unlabelled:
                return entropy_loss(prob, *map(counting, others))
            weights = unlabelled_weights(prob, others[0], self.distance, self.ignore)
            for mask in others[1:]:
                weights = weights * counting(mask)
            return entropy_loss(prob, weights)


@register("SizeLoss", source="rlossctl", bottoms=(1, 3), automatic_tops=1, role="loss")
class SizeLoss(Layer):
    """How far the soft sizes of the bounded classes are outside their bounds (rlossctl.losses.size_loss).

    Bottoms: probabilities; labels (TAG also: tags (N, C)), which CONSTANT does not need; and a mask or the
    image, whose padding, 0 in every channel, does not count. `bound { class low high }` (repeated) is in
    `unit`: FRACTION of the pixels that count (default) or PIXELS. source: CONSTANT; TAG: 0 for classes that
    the image does not have; PRECISE: the label's size -/+ margin; PRECISE_UPPER: at most that; BOX: low and
    high times the area of the label's boxes. Pixels of loss_param.ignore_label belong to no class; with a
    precise source they do not count. normalize: AREA (default) or AREA2; barrier: QUADRATIC (default) or LOG
    with log_t. The loss weight has no default: it is 0 unless given.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, loss_param = setup.message.size_loss_param, setup.message.loss_param
        self.constant = param.source == SizeLossParameter.CONSTANT
        if len(setup.bottoms) == 1 and not self.constant:
            raise setup.error("needs a second bottom", found="1 bottom", expected="probabilities and labels")
        with self.naming():
            self.loss = SizeModule(
                size_bounds(param),
                param.Normalize.Name(param.normalize).lower(),
                param.Barrier.Name(param.barrier).lower(),
                param.log_t,
                loss_param.ignore_label if loss_param.HasField("ignore_label") else None,
            )

    def forward(self, prob: Tensor, *others: Tensor) -> Tensor:
        label, *masks = (None, *others) if self.constant and len(others) < 2 else others
        with self.naming():
            return self.loss(prob, label, *map(counting, masks))


def size_bounds(param: SizeLossParameter) -> SizeBounds:
    """The message's bounds; a bound without `high` has no upper limit."""
    return SizeBounds(
        [getattr(bound, "class") for bound in param.bound],
        [bound.low for bound in param.bound],
        [bound.high if bound.HasField("high") else math.inf for bound in param.bound],
        param.Source.Name(param.source).lower(),
        param.Unit.Name(param.unit).lower(),
        param.margin,
    )
