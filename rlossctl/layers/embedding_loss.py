"""Losses on positions and features: SmoothL1Loss of Fast R-CNN and SSD, CenterLoss of caffe-face."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlossctl.layers.score_loss import same_count
from rlossctl.net.labels import check_labels
from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.registry import register


@register("SmoothL1Loss", source="Fast R-CNN", bottoms=(2, 4), automatic_tops=1, loss_weight=1.0, role="loss")
class SmoothL1Loss(Layer):
    """sum of w_out f(w_in (x - t)) / N, f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, else
    |d| - 1 / (2 sigma^2) (smooth_l1_loss_layer.cu of Fast R-CNN).

    Bottoms, all with the same count: x, t, and optionally the weights w_in and w_out. sigma defaults to 1, N
    is the batch size. With two or three bottoms it equals SSD's layer. The gradient goes to x and t.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.squared = setup.message.smooth_l1_loss_param.sigma**2
        if not self.squared > 0:
            raise setup.error("sigma must not be 0", found=setup.message.smooth_l1_loss_param.sigma)

    def forward(self, x: Tensor, target: Tensor, *weights: Tensor) -> Tensor:
        inside, outside = (*(same_count(self, w, x).detach() for w in weights), *(torch.ones(()),) * 2)[:2]
        distance = inside.to(x.device) * (x - same_count(self, target, x))
        size = distance.abs()
        near = self.squared * distance.square() / 2
        values = torch.where(size < 1 / self.squared, near, size - 0.5 / self.squared)
        return (outside.to(x.device) * values).sum() / x.shape[0]


@register("CenterLoss", source="caffe-face", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class CenterLoss(Layer):
    """Half the mean squared distance between features and the learned centre of their class
    (center_loss_layer.cpp of caffe-face).

    Bottoms: features (N, ...), with all axes from `axis` (default 1) on taken as one, and a class id for
    each. Blob: the centres (num_output, K), filled by center_filler. Their gradient is not the loss's
    gradient: it is the sum of (centre - feature) over a class's features, divided by their number plus 1,
    whatever the loss weight.
    Not reproduced: with iter_size only the last pass reaches the centres' gradient (here: all).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.center_loss_param, setup.bottoms[0]
        self.axis = canonical_axis(setup, param.axis, len(shape))
        if param.num_output < 1 or self.axis != 1:
            raise setup.error(
                "needs num_output classes and features from axis 1 on",
                found=f"num_output {param.num_output}, axis {param.axis}",
            )
        self.classes = param.num_output
        filler = param.center_filler if param.HasField("center_filler") else None
        self.add_blob((self.classes, int(torch.Size(shape[1:]).numel())), filler)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        if labels.numel() != x.shape[0]:
            raise self.error(
                "needs one class id per sample", found=f"{labels.numel()} labels", expected=x.shape[0]
            )
        ids = labels.detach().reshape(-1, 1).long()
        ids = check_labels(self, ids, torch.ones_like(ids, dtype=torch.bool), self.classes, None)
        return _Centres.apply(x.flatten(1), self.blobs[0], ids[:, 0])


class _Centres(torch.autograd.Function):
    """The loss with its two unrelated gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centres: Tensor, ids: Tensor) -> Tensor:
        distance = x - centres[ids]
        ctx.save_for_backward(distance, ids)
        ctx.classes = len(centres)
        return distance.square().sum() / (2 * len(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, diff: Tensor) -> tuple[Tensor, Tensor, None]:
        distance, ids = ctx.saved_tensors
        towards = distance.new_zeros((ctx.classes, distance.shape[1])).index_add(0, ids, -distance)
        count = torch.bincount(ids, minlength=ctx.classes).to(distance)
        return diff * distance / len(distance), towards / (count + 1)[:, None], None
