"""Losses: SoftmaxWithLoss (partial cross entropy) and DenseCRFLoss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.bilateral.point_ops import MAX_FEATURES
from rlossctl.losses import caffe_mask, densecrf_loss
from rlossctl.losses.densecrf_features import Features
from rlossctl.losses.inputs import InputCheck
from rlossctl.losses.labelled import counting
from rlossctl.net.labels import BATCH_SIZE, VALID, WEIGHTS, check_labels, flatten_labels, loss_norm
from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.registry import register

LOG_SMALLEST = math.log(torch.finfo(torch.float32).tiny)  # Caffe takes log(max(p, FLT_MIN))


@register("SoftmaxWithLoss", bottoms=2, tops=(1, 2), automatic_tops=1, loss_weight=1.0, role="loss")
class SoftmaxWithLoss(Layer):
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

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.loss_param
        self.axis = canonical_axis(setup, setup.message.softmax_param.axis, len(setup.bottoms[0]))
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        fork = setup.dialect in ("segnet", "enet")
        by_weights = param.normalization == WEIGHTS
        self.normalization = VALID if fork and not by_weights else param.normalization
        if param.HasField("normalize") and not by_weights and (fork or not param.HasField("normalization")):
            self.normalization = VALID if param.normalize else BATCH_SIZE
        weights = list(param.class_weighting) if param.weight_by_label_freqs else None
        classes = setup.bottoms[0][self.axis]
        if weights is not None and len(weights) != classes:
            raise setup.error(
                "class_weighting must be given once per class", found=len(weights), expected=classes
            )
        # A plain attribute would follow neither .to() nor the meta device, where layers are built.
        self.class_weights = weights
        self._copied: Tensor | None = None

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


@register("DenseCRFLoss", source="rloss", bottoms=(2, 4), automatic_tops=1, role="loss")
class DenseCRFLoss(Layer):
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


def _check_features(setup: Setup, features: tuple[int, ...], seg: tuple[int, ...], colours: int) -> None:
    """Raises the layer's error if the bottom with features does not fit."""
    if len(features) != 4 or features[0] != seg[0] or features[2:] != seg[2:]:
        raise setup.error(
            "features and segmentation must have the same batch size, height and width",
            found=f"features {features}, segmentation {seg}",
            advice="resize the features with Interp",
        )
    count, stds = features[1], setup.message.densecrf_loss_param.feature_std
    if len(stds) not in (1, count) or not all(0 < std < math.inf for std in stds):
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
