"""Losses of scores against label images that Caffe does not have: FocalLoss, DiceLoss and LovaszLoss."""

from __future__ import annotations

from torch import Tensor

from rlossctl.losses import dice_loss, focal_loss, lovasz_loss
from rlossctl.losses.labelled import not_below
from rlossctl.net.labels import VALID, loss_norm, refuse_unread, refuse_weights
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register


class LabelLoss(Layer):
    """What the three share: bottoms (N, C, ...) scores and labels, and the ignore label of loss_param.

    Attributes:
        read: the fields of loss_param that the layer goes by.
    """

    read: tuple[str, ...] = ("ignore_label",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        refuse_unread(setup, self.read)
        param = setup.message.loss_param
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None


@register("FocalLoss", source="rlossctl", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class FocalLoss(LabelLoss):
    """Cross-entropy times (1 - p)^gamma, p the softmax or sigmoid of the scores (rlossctl.losses.focal_loss).

    Bottoms: scores and one class id per position, of which loss_param.ignore_label does not count. gamma
    is 2 by default; alpha (repeated) weighs the classes. SIGMOID takes each class against the rest: binary
    cross-entropy with gamma 0. loss_param.normalization divides the sum as in SoftmaxWithLoss; VALID, the
    default, is the mean over the positions that count and, with SIGMOID, the classes.
    """

    read = ("ignore_label", "normalization")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.focal_loss_param
        self.gamma, self.alpha = param.gamma, list(param.alpha) or None
        self.activation = param.Activation.Name(param.activation).lower()
        refuse_weights(setup)
        self.normalization = setup.message.loss_param.normalization
        with self.naming():
            not_below("focal loss", "gamma", self.gamma, 0)

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        settings = self.gamma, self.alpha, self.activation, self.ignore
        with self.naming():
            if self.normalization == VALID:
                return focal_loss(scores, label, *settings)
            total = focal_loss(scores, label, *settings, reduction="sum")
        return total / loss_norm(self.normalization, label, scores.shape[0])


@register("DiceLoss", source="rlossctl", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class DiceLoss(LabelLoss):
    """1 - (2 <P, Y> + smooth) / (sum P + sum Y + smooth), P the softmax or sigmoid, Y the one-hot labels.

    Bottoms: scores and one class id per position, of which loss_param.ignore_label does not count. reduction:
    BATCH (default) takes one fraction of all, IMAGE the mean over images, CLASS the mean over classes.
    log_cosh takes ln cosh of the loss. Cross-entropy and Dice together are two layers. See
    rlossctl.losses.dice_loss.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.dice_loss_param
        self.smooth, self.log_cosh = param.smooth, param.log_cosh
        self.activation = param.Activation.Name(param.activation).lower()
        self.reduction = param.Reduction.Name(param.reduction).lower()
        with self.naming():
            not_below("Dice loss", "smooth", self.smooth, 0)

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        settings = self.smooth, self.activation, self.reduction, self.log_cosh, self.ignore
        with self.naming():
            return dice_loss(scores, label, *settings)


@register("LovaszLoss", source="rlossctl", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class LovaszLoss(LabelLoss):
    """The Lovasz extension of 1 - IoU at the errors of each class (rlossctl.losses.lovasz_loss).

    Bottoms: scores and one class id per position, of which loss_param.ignore_label does not count. classes:
    the mean over those PRESENT in the labels (default) or ALL. per_image: the mean over images in place of
    one IoU of the batch. form: SOFTMAX (default), or HINGE for one channel of scores and labels 0 and 1.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.lovasz_loss_param
        self.classes = param.Classes.Name(param.classes).lower()
        self.form, self.per_image = param.Form.Name(param.form).lower(), param.per_image

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        with self.naming():
            return lovasz_loss(scores, label, self.classes, self.per_image, self.form, self.ignore)
