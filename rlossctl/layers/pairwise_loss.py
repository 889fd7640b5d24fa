"""Losses on the distance between two blobs: EuclideanLoss and ContrastiveLoss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.layers.score_loss import same_count
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register


@register("EuclideanLoss", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class EuclideanLoss(Layer):
    """Sum of (a - b)^2 / 2N, with a gradient to both bottoms (euclidean_loss_layer.cpp)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - same_count(self, b, a)).square().sum() / (2 * len(a))


@register("ContrastiveLoss", bottoms=3, automatic_tops=1, loss_weight=1.0, role="loss")
class ContrastiveLoss(Layer):
    """Sum over pairs of d^2 if similar, else max(margin - d, 0)^2, / 2N (contrastive_loss_layer.cpp).

    Bottoms: two blobs (N, C, 1, 1), and one value per pair: the pair is similar unless its integer part is 0.
    d is the Euclidean distance; legacy_version takes max(margin - d^2, 0) for dissimilar pairs. As in Caffe,
    the gradient of the new version divides by d + 1e-4, so it stays finite at d = 0. No gradient to the
    labels.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.contrastive_loss_param
        self.margin, self.legacy = param.margin, param.legacy_version
        a, _, alike = setup.bottoms
        if len(a) < 2 or any(size != 1 for size in a[2:]) or alike[:1] != a[:1] or set(alike[1:]) - {1}:
            raise setup.error(
                "needs two blobs of vectors and one label per pair",
                found=", ".join(map(str, setup.bottoms)),
                expected="(N, C, 1, 1) twice, and (N) or (N, 1, 1, 1)",
            )

    def forward(self, a: Tensor, b: Tensor, alike: Tensor) -> Tensor:
        difference = (a - same_count(self, b, a)).flatten(1)  # (N, C)
        square = difference.square().sum(1)  # (N)
        apart = F.relu(self.margin - square) if self.legacy else self._apart(difference, square)
        same = alike.detach().reshape(-1).trunc() != 0
        return torch.where(same, square, apart).sum() / (2 * len(a))

    def _apart(self, difference: Tensor, square: Tensor) -> Tensor:
        """max(margin - d, 0)^2 with Caffe's gradient -2 max(margin - d, 0) difference / (d + 1e-4)."""
        distance = square.detach().sqrt()
        short = F.relu(self.margin - distance)
        slope = (-2 * short / (distance + 1e-4)).unsqueeze(1) * difference.detach()  # (N, C)
        return short.square() + (slope * (difference - difference.detach())).sum(1)
