"""Soft labels for pixels without one, and the loss that learns from them: SoftPseudoLabel and
CollisionCrossEntropyLoss."""

from __future__ import annotations

from torch import Tensor

from rlossctl.losses import SoftPseudoLabel as SoftPseudoLabelModule
from rlossctl.losses import collision_cross_entropy_loss
from rlossctl.losses.labelled import counting
from rlossctl.net.labels import refuse_unread
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register


@register("SoftPseudoLabel", source="rlossctl", bottoms=3, gradient=False, onnx=False)
class SoftPseudoLabel(Layer):
    """Soft labels that fit prediction, labels and image (rlossctl.losses.soft_pseudo_label).

    Bottoms: the image as the net sees it, probabilities P of its size, and labels. The top (N, C, H, W) is
    one-hot at labelled pixels and 0 in the image's padding, which is 0 in every channel. At pixels of
    loss_param.ignore_label it goes down eta (0.3) sum -ln <P, y> + smoothness (6) sum of w -ln cos(y, y')
    over neighbours, in `iterations` (30) steps, none of which lets the energy rise. image_std is in the
    image's units; 0, the default, gives all pairs the same weight. No gradient.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, ignore = setup.message.soft_pseudo_label_param, ignore_label(setup)
        with self.naming():
            self.make = SoftPseudoLabelModule(
                param.eta, param.smoothness, param.image_std, param.iterations, ignore
            )

    def forward(self, image: Tensor, prob: Tensor, label: Tensor) -> Tensor:
        with self.naming():
            soft: Tensor = self.make(image, prob, label, counting(image))
        return soft


@register("CollisionCrossEntropyLoss", source="rlossctl", bottoms=(2, 3), automatic_tops=1, role="loss")
class CollisionCrossEntropyLoss(Layer):
    """Mean of -ln <P, y> over pixels with soft labels y (rlossctl.losses.collision_cross_entropy_loss).

    Bottoms: probabilities P, soft labels y as SoftPseudoLabel gives them, and perhaps labels: then only
    pixels of loss_param.ignore_label count, and SoftmaxWithLoss can have the others. The loss weight has no
    default: it is 0 unless given. No gradient to y.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        refuse_unread(setup, ("ignore_label",))
        self.ignore = ignore_label(setup) if len(setup.bottoms) > 2 else 0

    def forward(self, prob: Tensor, soft: Tensor, label: Tensor | None = None) -> Tensor:
        mask = None if label is None else label.detach() == self.ignore
        with self.naming():
            return collision_cross_entropy_loss(prob, soft, mask)


def ignore_label(setup: Setup) -> int:
    """The label of pixels without one.

    Raises:
        NetError: the layer does not give it.
    """
    refuse_unread(setup, ("ignore_label",))
    if not setup.message.loss_param.HasField("ignore_label"):
        raise setup.error(
            "does not know which label stands for none",
            found="no ignore label",
            expected="loss_param { ignore_label: 255 }",
        )
    return setup.message.loss_param.ignore_label
