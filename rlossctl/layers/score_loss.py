"""Losses that compare scores with class labels or targets, other than SoftmaxWithLoss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.net.labels import BATCH_SIZE, VALID, check_labels, flatten_labels, loss_norm, refuse_weights
from rlossctl.net.layer import Layer, Setup, canonical_axis
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import HingeLossParameter
from rlossctl.weights import load_blob

SMALLEST = 1e-20  # kLOG_THRESHOLD of the losses that take probabilities


@register("SigmoidCrossEntropyLoss", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class SigmoidCrossEntropyLoss(Layer):
    """-sum t log s(x) + (1 - t) log(1 - s(x)) over all values / norm (sigmoid_cross_entropy_loss_layer.cpp).

    Bottoms: scores, and targets of the same count, usually 0..1; no gradient to the targets. norm in BVLC:
    BATCH_SIZE (default), VALID, FULL or NONE as in SoftmaxWithLoss, or `normalize`, where true means VALID;
    targets whose integer part is ignore_label do not count. The forks divide by the batch size and have no
    ignore_label.

    `balanced`, a field of ours, is the loss of HED's fork, which nets with ImageLabelmapData get: ones of a
    sample count by its share of zeros, zeros by its share of ones, other targets not at all; norm is the
    batch size. RCF's fork multiplies the zeros by 1.1, here negative_weight. Not reproduced: HED's gradient
    where a target is neither 0 nor 1 (here 0), and NaN for a sample without ones and zeros (here 0).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        refuse_weights(setup)
        param = setup.message.loss_param
        self.ignore, self.normalization = None, BATCH_SIZE
        self.balanced, self.negatives = param.balanced, param.negative_weight
        _refuse_unbalanced(setup)
        if setup.dialect == "bvlc":
            self.ignore = param.ignore_label if param.HasField("ignore_label") else None
            if param.HasField("normalization"):
                self.normalization = param.normalization
            elif param.normalize:
                self.normalization = VALID

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        targets = same_count(self, targets, scores).detach()
        if self.balanced:
            return self._balanced(scores.flatten(1), targets.flatten(1))
        valid = torch.ones_like(targets, dtype=torch.bool)
        if self.ignore is not None:
            valid = targets.trunc() != self.ignore
        values = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return (values * valid).sum() / loss_norm(self.normalization, valid, scores.shape[0])

    def _balanced(self, scores: Tensor, targets: Tensor) -> Tensor:
        ones, zeros = (targets == 1).to(scores.dtype), (targets == 0).to(scores.dtype)
        positive, negative = ones.sum(1, keepdim=True), zeros.sum(1, keepdim=True)
        weights = ones * negative + self.negatives * zeros * positive
        weights = weights / (positive + negative).clamp(min=1)
        values = F.binary_cross_entropy_with_logits(scores, ones, reduction="none")
        return (values * weights).sum() / len(scores)


def _refuse_unbalanced(setup: Setup) -> None:
    """Refuses fields that do not count with `balanced`, or without it."""
    param = setup.message.loss_param
    names = ("ignore_label", "normalize", "normalization") if param.balanced else ("negative_weight",)
    unread = [name for name in names if param.HasField(name)]
    if unread:
        raise setup.error(
            f"does not go by {unread[0]} {'with' if param.balanced else 'without'} balanced: true",
            found=f"loss_param {{ {', '.join(unread)} }}",
            expected="negative_weight beside balanced: true, and no other field",
            advice="delete it, as HED's fork ignores it" if param.balanced else "set balanced: true",
        )


@register("HingeLoss", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class HingeLoss(Layer):
    """One-against-all hinge: sum of max(0, 1 - s x), or its square, / N (hinge_loss_layer.cpp).

    Bottoms: scores (N, ...) and one class id per sample; s is 1 at the sample's class, else -1. norm: L1
    (default) or L2.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.squares = setup.message.hinge_loss_param.norm == HingeLossParameter.L2

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        rows, labels = scores.flatten(1), class_ids(self, scores, labels)
        own = torch.zeros_like(rows, dtype=torch.bool).scatter(1, labels, True)
        margin = F.relu(1 + torch.where(own, -rows, rows))
        return (margin.square() if self.squares else margin).sum() / len(rows)


@register("MultinomialLogisticLoss", bottoms=2, automatic_tops=1, loss_weight=1.0, role="loss")
class MultinomialLogisticLoss(Layer):
    """-sum log p[label] / N for given probabilities (multinomial_logistic_loss_layer.cpp).

    Bottoms: probabilities (N, C), and one class id per sample. p is at least 1e-20.
    """

    def forward(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        labels = class_ids(self, probabilities, labels)
        picked = probabilities.flatten(1).gather(1, labels)
        return -log_from(picked, SMALLEST).sum() / len(picked)


@register("InfogainLoss", bottoms=(2, 3), tops=(1, 2), automatic_tops=1, loss_weight=1.0, role="loss")
class InfogainLoss(Layer):
    """-sum over positions and classes k of H[label, k] log p[k] / norm (infogain_loss_layer.cpp).

    Bottoms: scores, labels, and H as (1, 1, C, C) unless infogain_loss_param.source names a file with H (a
    binary BlobProto, read in the first pass). In BVLC, p is the softmax of the scores along `axis`, default
    1, and ignore_label, normalization (not the old `normalize`) and a second top for p are supported. In the
    forks, which are older, the scores themselves are the p of whole samples and norm is the batch size. p is
    at least 1e-20; BVLC's gradient ignores this limit. No gradient to labels and H.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        refuse_weights(setup)
        param, self.source = setup.message.loss_param, setup.message.infogain_loss_param.source
        self.matrix: Tensor | None = None
        self.takes_scores = setup.dialect == "bvlc"
        self.axis = canonical_axis(setup, setup.message.infogain_loss_param.axis, len(setup.bottoms[0]))
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.normalization = param.normalization
        if not self.takes_scores:
            self.axis, self.ignore, self.normalization = 1, None, BATCH_SIZE
            if setup.tops == 2:
                raise setup.error("has one top in this dialect", found="2 tops", expected="1 top")
        elif param.HasField("normalize"):
            raise setup.error("does not take `normalize`", found="normalize", expected="normalization")
        if len(setup.bottoms) == 2 and not self.source:
            raise setup.error(
                "has no infogain matrix", found="2 bottoms, no source", expected="a third bottom or a source"
            )

    def forward(
        self, scores: Tensor, labels: Tensor, matrix: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        p, log_p = self._probabilities(scores)  # (outer, C, inner)
        labels = flatten_labels(self, labels, p.shape[0], p.shape[2])
        valid = torch.ones_like(labels, dtype=torch.bool) if self.ignore is None else labels != self.ignore
        labels = check_labels(self, labels, valid, p.shape[1], self.ignore)
        gains = self._matrix(matrix, p)[labels.where(valid, 0)].movedim(-1, 1)  # (outer, C, inner)
        loss = -(gains * log_p * valid.unsqueeze(1)).sum() / loss_norm(self.normalization, valid, p.shape[0])
        return (loss, p.detach().reshape(scores.shape)) if self.setup.tops == 2 else loss

    def _probabilities(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        if not self.takes_scores:
            p = scores.flatten(1).unsqueeze(-1)
            return p, log_from(p, SMALLEST)
        shape = scores.shape
        rows = scores.reshape(shape[: self.axis].numel(), shape[self.axis], -1)
        p, log_p = rows.softmax(1), rows.log_softmax(1)
        return p, log_p + (p.clamp(min=SMALLEST).log() - log_p).detach()

    def _matrix(self, given: Tensor | None, p: Tensor) -> Tensor:
        classes = p.shape[1]
        if given is None and p.is_meta:
            given = p.new_empty((1, 1, classes, classes))
        elif given is None:
            if self.matrix is None:
                self.matrix = torch.tensor(load_blob(self.source).array())
            given = self.matrix.to(p.device)
        if given.numel() != classes**2:
            raise self.error(
                "the infogain matrix does not match the scores",
                found=f"shape {tuple(given.shape)}" + ("" if self.matrix is None else f" in {self.source}"),
                expected=f"(1, 1, {classes}, {classes})",
            )
        return given.detach().reshape(classes, classes)


def log_from(p: Tensor, smallest: float) -> Tensor:
    """log(max(p, smallest)) with Caffe's gradient, 1 / max(p, smallest) everywhere."""
    safe = p.detach().clamp(min=smallest)
    return safe.log() + (p - p.detach()) / safe


def class_ids(layer: Layer, scores: Tensor, labels: Tensor) -> Tensor:
    """One checked class id per sample, as int64 (N, 1); each of a sample's values is a class."""
    ids = flatten_labels(layer, labels, scores.shape[0], 1)
    valid = torch.ones_like(ids, dtype=torch.bool)
    return check_labels(layer, ids, valid, scores.flatten(1).shape[1], None)


def same_count(layer: Layer, other: Tensor, x: Tensor) -> Tensor:
    """`other` in the shape of x.

    Raises:
        NetError: batch sizes or counts differ.
    """
    if other.numel() != x.numel() or other.shape[:1] != x.shape[:1]:
        raise size_error(layer, x, other)
    return other.reshape(x.shape)


def size_error(layer: Layer, x: Tensor, other: Tensor) -> NetError:
    """The error for bottoms of a loss that do not match."""
    return layer.error(
        "its bottoms must have the same batch size and count",
        found=f"{tuple(x.shape)} and {tuple(other.shape)}",
        expected="two blobs of the same size",
    )
