"""Layers of the rloss fork that use the labels present in an image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rlossctl.net.labels import check_labels
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import BiasChannelParameter

FILLER = -1  # pads label lists to their fixed length


@register("UniqueLabel", source="rloss", gradient=False, onnx=False)
class UniqueLabel(Layer):
    """The distinct labels of each image in ascending order (unique_label_layer.cpp).

    Bottom (N, 1, H, W), top (N, max_labels, 1, 1), padded with -1. ignore_label (repeated): labels to leave
    out. force_label (repeated): labels that are always included. No gradient.

    Raises:
        NetError: an image has more than max_labels labels.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.unique_label_param
        self.length = param.max_labels
        self.ignored, self.forced = list(param.ignore_label), list(param.force_label)
        if self.length <= len(set(self.forced)):
            raise setup.error(
                "max_labels must leave room besides the forced labels",
                found=f"max_labels {self.length}, {len(set(self.forced))} forced",
                expected=f"at least {len(set(self.forced)) + 1}",
            )
        if len(setup.bottoms[0]) != 4 or setup.bottoms[0][1] != 1:
            raise setup.error("needs one channel of labels", found=setup.bottoms[0], expected="(N, 1, H, W)")

    @torch.no_grad()
    def forward(self, labels: Tensor) -> Tensor:
        lists = labels.new_full((len(labels), self.length, 1, 1), FILLER)
        if labels.is_meta:
            return lists
        ignored, forced = labels.new_tensor(self.ignored), labels.new_tensor(self.forced)
        for image, row in zip(labels, lists, strict=True):
            found = torch.cat([image[~torch.isin(image, ignored)], forced]).unique()
            if len(found) > self.length:
                raise self.error(
                    "an image has too many labels",
                    found=f"{len(found)} distinct labels",
                    expected=f"at most {self.length}",
                    advice="raise max_labels, or give ignore_label",
                )
            row[: len(found), 0, 0] = found
        return lists


class LabelBias(Layer):
    """Base class of the layers that raise the scores of the labels present: (N, C, H, W), then the labels."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        scores, labels = setup.bottoms
        expected = (scores[0], 1, *scores[2:]) if self.by_pixel else (scores[0], *labels[1:2], 1, 1)
        if len(scores) != 4 or labels != expected:
            raise setup.error(
                "scores and labels do not match",
                found=f"{scores} and {labels}",
                expected="(N, C, H, W) and " + ("(N, 1, H, W)" if self.by_pixel else "(N, L, 1, 1)"),
            )

    @property
    def by_pixel(self) -> bool:
        """Whether the labels are a map, not a list per image."""
        return False

    def present(self, labels: Tensor, classes: int, ignored: list[int]) -> Tensor:
        """How often each class occurs along axis 1 of labels: [N, C, ...] as int64."""
        ids = labels.detach().long()
        valid = ~torch.isin(ids, torch.tensor([FILLER, *ignored], device=ids.device))
        ids = check_labels(self, ids, valid, classes, ignored[0] if ignored else FILLER)
        count = ids.new_zeros((ids.shape[0], classes, *ids.shape[2:]))
        return count.scatter_add(1, ids.where(valid, 0), valid.long())


@register("BiasChannel", source="rloss", bottoms=2, onnx=False)
class BiasChannel(LabelBias):
    """Adds fg_bias to the scores of the labels present, bg_bias to the background's (bias_channel_layer.cpp).

    label_type IMAGE: the labels are a list per image (N, L, 1, 1); label 0 is the background, and a label
    that is listed twice counts twice. PIXEL: the labels are a map (N, 1, H, W); there is a background only
    with background_label or bg_bias in the prototxt (label 0 by default), and its scores get bg_bias at every
    labelled pixel. -1 and ignore_label (repeated) count as no label. The gradient passes unchanged to the
    scores.

    Raises:
        NetError: another label outside 0..C-1, or a negative bias.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.bias_channel_param
        self.ignored = list(param.ignore_label)
        self.has_background = (
            not self.by_pixel or param.HasField("background_label") or param.HasField("bg_bias")
        )
        self.background = param.background_label if self.by_pixel else 0
        self.bg_bias, self.fg_bias = param.bg_bias, param.fg_bias
        if self.bg_bias < 0 or self.fg_bias < 0:
            raise setup.error(
                "biases must not be negative", found=f"bg_bias {self.bg_bias:g}, fg_bias {self.fg_bias:g}"
            )
        if not 0 <= self.background < setup.bottoms[0][1]:
            raise setup.error("background_label is not a channel", found=self.background)

    @property
    def by_pixel(self) -> bool:
        return self.setup.message.bias_channel_param.label_type == BiasChannelParameter.PIXEL

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        classes = scores.shape[1]
        count = self.present(labels, classes, self.ignored)  # (N, C, 1, 1) or (N, C, H, W)
        bias = scores.new_full((1, classes, 1, 1), self.fg_bias)
        if self.has_background:
            bias[:, self.background] = self.bg_bias
        added = count * bias
        if self.by_pixel and self.has_background:
            added[:, self.background] = self.bg_bias * count.sum(1)
        return scores + added


@register("AdaptiveBiasChannel", source="rloss", bottoms=2, gradient=False, onnx=False)
class AdaptiveBiasChannel(LabelBias):
    """Raises the scores of the labels present until each wins on its portion of the image.

    adaptive_bias_channel_layer.cpp. Labels: a list per image (N, L, 1, 1), -1 for none; an image without
    labels does not change. suppress_others: if the score of an absent label exceeds the lowest score of the
    present ones, it is set margin_others below that score. Then, num_iter times, each label present is raised
    by a percentile of its distance to the highest score: bg_portion (label 0, always first) or fg_portion. In
    the end a constant restores the mean of the highest score. No gradient. Not reproduced: the original
    shuffles the foreground labels in each round; here they stay in ascending order, so that the result is the
    same every time.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.adaptive_bias_channel_param
        self.rounds, self.suppresses, self.margin = param.num_iter, param.suppress_others, param.margin_others
        self.portions = param.bg_portion, param.fg_portion
        if self.rounds < 1 or self.margin < 0 or not all(0 <= portion <= 1 for portion in self.portions):
            raise setup.error(
                "a parameter is out of range",
                found=f"num_iter {self.rounds}, margin_others {self.margin:g}, portions {self.portions}",
                expected="num_iter above 0, margin_others not negative, portions 0 to 1",
            )

    @torch.no_grad()
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        if scores.is_meta:
            return torch.empty_like(scores)
        present = self.present(labels, scores.shape[1], []).flatten(1) > 0  # (N, C)
        return torch.stack([self._raise(x, mask) for x, mask in zip(scores, present, strict=True)])

    def _raise(self, scores: Tensor, present: Tensor) -> Tensor:
        """One image: scores (C, H, W), present (C)."""
        if not present.any():
            return scores
        rows = scores.flatten(1).clone()  # (C, P)
        if self.suppresses:
            least = rows[present].amin(0)
            rows = torch.where((rows > least) & ~present[:, None], least - self.margin, rows)
        greatest = rows[present].amax(0)  # (P)
        before = greatest.mean(dtype=torch.float64)
        for _ in range(self.rounds):
            for label in present.nonzero().flatten().tolist():
                rank = int(np.float32(self.portions[label != 0]) * np.float32(rows.shape[1]))
                lacking = (greatest - rows[label]).sort().values
                rows[label] += lacking[min(rank, len(lacking) - 1)]
                greatest = torch.maximum(greatest, rows[label])
        rows += (before - greatest.mean(dtype=torch.float64)).to(rows.dtype)
        return rows.view_as(scores)
