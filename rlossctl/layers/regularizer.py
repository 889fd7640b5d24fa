"""Regularizers of soft segmentations that Caffe does not have: EntropyLoss, SizeLoss, PottsLoss and
NormalizedCutLoss."""

from __future__ import annotations

from torch import Tensor

from rlossctl.losses import entropy_loss
from rlossctl.losses.entropy import unlabelled_weights
from rlossctl.losses.inputs import counting
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import EntropyLossParameter


@register("EntropyLoss", source="rlossctl", bottoms=(1, 3), automatic_tops=1, role="loss")
class EntropyLoss(Layer):
    """Mean of -sum p ln p over the pixels that count (rlossctl.losses.entropy_loss).

    Bottoms: probabilities, and a mask that is not 0 where pixels count; without it all do. With region:
    UNLABELLED bottom 1 holds labels, and the pixels of loss_param.ignore_label count. With `distance` (in
    pixels) each of them counts exp(-d / distance) times, d the distance to the nearest labelled pixel. A third
    bottom is a mask or the image, whose padding, 0 in every channel, does not count. The loss weight has no
    default: it is 0 unless given.
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
