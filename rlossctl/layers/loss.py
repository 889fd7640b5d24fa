"""Losses: SoftmaxWithLoss (partial cross entropy) and DenseCRFLoss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.losses import caffe_mask, densecrf_loss
from rlossctl.losses.densecrf_features import Features
from rlossctl.losses.inputs import InputCheck
from rlossctl.losses.labelled import counting
from rlossctl.net.labels import WEIGHTS, check_labels, flatten_labels, loss_norm
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import computes
from rlossctl.outlines.loss import DenseCRFLossOutline, SoftmaxWithLossOutline

LOG_SMALLEST = math.log(torch.finfo(torch.float32).tiny)  # Caffe takes log(max(p, FLT_MIN))


@computes("SoftmaxWithLoss")
class SoftmaxWithLoss(SoftmaxWithLossOutline, Layer):
    """-sum log p[label] / norm over positions that are not ignored (softmax_loss_layer.cpp).

    Bottoms: scores, and labels with one value per position (fractions are truncated). norm: VALID (default)
    counts positions that are not ignored, FULL counts all, BATCH_SIZE counts the outer axes, NONE is 1. It is
    never below 1, so a batch without valid labels gives 0. The old `normalize` is used only without
    `normalization`. A second top holds the probabilities.

    A normalization of ours, in every dialect: WEIGHTS divides by the sum of the class weights of the
    positions that are not ignored, as torch's cross_entropy does; if that sum is 0, the loss is 0. Without
    weights it equals VALID.

    SegNet and ENet: only `normalize` counts (VALID by default, false means BATCH_SIZE; ENet reads
    `normalization` but does not use it). With weight_by_label_freqs each position counts
    class_weighting[label] times; the norm still counts positions. Not reproduced:
    SegNet's NaN for a batch without valid labels (here: 0).
    """

    _copied: Tensor | None = None  # see _weights

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        rows = scores.flatten(self.axis + 1) if scores.dim() > self.axis + 1 else scores.unsqueeze(-1)
        rows = rows.flatten(0, self.axis - 1) if self.axis > 0 else rows.unsqueeze(0)  # (outer, C, inner)
        labels = flatten_labels(self, labels, rows.shape[0], rows.shape[2])  # (outer, inner)
        valid = torch.ones_like(labels, dtype=torch.bool) if self.ignore is None else labels != self.ignore
        labels = check_labels(self, labels, valid, rows.shape[1], self.ignore)
        log_p = F.log_softmax(rows, 1)
        picked = log_p.gather(1, labels.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)
        # The value stops at log(FLT_MIN); Caffe's gradient p - 1 ignores that.
        picked = picked + (picked.detach().clamp(min=LOG_SMALLEST) - picked.detach())
        counted = valid.to(picked.dtype)
        if self.class_weights is not None and not scores.is_meta:
            counted = counted * self._weights(picked)[labels.masked_fill(~valid, 0)]
        loss = -(picked * counted).sum() / self._norm(valid, counted, rows.shape[0])
        return (loss, log_p.detach().exp().reshape(scores.shape)) if self.setup.tops == 2 else loss

    def _weights(self, like: Tensor) -> Tensor:
        """The class weights, copied to the scores' device once: every copy would wait for a GPU."""
        known = self._copied
        if known is None or (known.device, known.dtype) != (like.device, like.dtype):
            known = like.new_tensor(self.class_weights)
            self._copied = known
        return known

    def _norm(self, valid: Tensor, counted: Tensor, outer: int) -> Tensor | int:
        if self.normalization != WEIGHTS:
            return loss_norm(self.normalization, valid, outer)
        weights = counted.sum()
        return weights.masked_fill(weights <= 0, 1.0)


@computes("DenseCRFLoss")
class DenseCRFLoss(DenseCRFLossOutline, Layer):
    """-(1/N) sum_n sum_c s_nc^T A_n s_nc, a negative number (densecrf_loss_layer.cpp).

    Bottoms: the image as the net sees it (mean-subtracted), and a soft segmentation of the same size. s is
    the segmentation without the pixels that are 0 in every channel of the image (padding; also |v| < 1). A
    third bottom, ours, is a mask that is not 0 where pixels count, such as ImageSegData's fourth top. With
    `feature_std`, a field of ours, the third bottom has M further features of each pixel, such as depth
    [N, M, H, W], with these standard deviations, and the mask, if any, is the fourth. A is the permutohedral
    filter with bi_xy_std in pixels and bi_rgb_std in grey levels, in up to 6 dimensions: 2, the image's
    channels and M. `mode`, a field of ours, selects LATTICE (default), SYMMETRIC or EXACT (docs/densecrf.md).
    The loss weight has no default: it is 0 unless given. No gradient to the image. Inputs that are probably a
    mistake (an image scaled to 0..1, scores without a softmax, no pixel that counts) give a warning, each
    kind once.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        name = f"{setup.where}: layer {setup.message.name!r} (DenseCRFLoss)"
        self.inputs = InputCheck(name, self.sigma_rgb, "bi_rgb_std")

    def forward(self, image: Tensor, seg: Tensor, *others: Tensor) -> Tensor:
        image = image.detach()
        features = Features(others[0], self.feature_std) if self.feature_std else None
        masks = others[1:] if self.feature_std else others
        counted = counting(masks[0]) if masks else caffe_mask(image)
        self.inputs.look(image, seg, counted)
        sigmas = self.sigma_xy, self.sigma_rgb
        loss = densecrf_loss(
            image, seg, counted, *sigmas, self.mode, upstream=self.upstream, features=features
        )
        return loss.reshape(1, 1, 1, 1)
