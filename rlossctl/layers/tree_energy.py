"""A regularizer along minimum spanning trees of the image: TreeEnergyLoss."""

from __future__ import annotations

from torch import Tensor

from rlossctl.layers.regularizer import without_image_gradient
from rlossctl.losses import TreeEnergyLoss as TreeEnergyModule
from rlossctl.losses.labelled import counting
from rlossctl.net.labels import refuse_unread
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register


@register("TreeEnergyLoss", source="rlossctl", bottoms=(3, 4), automatic_tops=1, role="loss")
class TreeEnergyLoss(Layer):
    """Mean over pixels without a label of sum_c |P - F(P)|, F averaging along trees of the image.

    Bottoms: the image as the net sees it, probabilities P (N, C, h, w), labels, and perhaps features of the
    net (N, F, h, w), along whose tree F averages too (rlossctl.losses.tree_energy_loss). Image and labels may
    have another size. Pixels of loss_param.ignore_label count, but not the image's padding, 0 in every
    channel. sigma divides squared differences of colours: 0.02 (default) is for an image divided by its
    standard deviation, 67 for one in 0..255. The loss weight has no default: it is 0 unless given. No
    gradient to the image.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        refuse_unread(setup, ("ignore_label",))
        if not setup.message.loss_param.HasField("ignore_label"):
            raise setup.error(
                "does not know which label stands for none",
                found="no ignore label",
                expected="loss_param { ignore_label: 255 }",
            )
        without_image_gradient(setup)
        sigma, ignore = setup.message.tree_energy_loss_param.sigma, setup.message.loss_param.ignore_label
        with self.naming():
            self.loss = TreeEnergyModule(sigma, ignore)

    def forward(self, image: Tensor, prob: Tensor, label: Tensor, features: Tensor | None = None) -> Tensor:
        with self.naming():
            value: Tensor = self.loss(image, prob, label, features, counting(image))
        return value
