"""Shared by layers that read labels: shape and range of the labels, and the divisor of a loss."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from rlossctl import postponed
from rlossctl.net.layer import Layer, Setup
from rlossctl.prototxt.messages import LossParameter

FULL, VALID = LossParameter.FULL, LossParameter.VALID
BATCH_SIZE, NONE = LossParameter.BATCH_SIZE, LossParameter.NONE
WEIGHTS = LossParameter.WEIGHTS


def flatten_labels(layer: Layer, labels: Tensor, outer: int, inner: int) -> Tensor:
    """Labels of any shape with one value per position, as int64 (outer, inner). Fractions are truncated."""
    if labels.numel() != outer * inner:
        raise layer.error(
            "needs one label per position",
            found=f"{labels.numel()} labels of shape {tuple(labels.shape)}",
            expected=f"{outer * inner} ({outer} x {inner})",
            advice="resize scores and labels to one size (Interp); labels have no channel axis",
        )
    return labels.detach().reshape(outer, inner).long()


def check_labels(layer: Layer, labels: Tensor, valid: Tensor, classes: int, ignore: int | None) -> Tensor:
    """Refuses ids outside 0 .. classes-1 that are not ignored (Caffe checks only in debug builds).

    Returns:
        The labels. On a GPU, where the answer may be postponed, ids out of range have become ids of classes:
        an index beyond a tensor ends a program there.

    Raises:
        NetError: names the layer and the ids; its `samples` are the rows of the batch that hold them.
    """
    if labels.is_meta or torch.compiler.is_compiling():
        return labels
    wrong = valid & ((labels < 0) | (labels >= classes))

    def refuse() -> NoReturn:
        ids = torch.unique(labels[wrong]).tolist()
        error = layer.error(
            "label ids out of range",
            found=", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else ""),
            expected=f"0 to {classes - 1}" + ("" if ignore is None else f", or the ignore label {ignore}"),
            advice="check the label images, num_output of the classifier and loss_param.ignore_label",
        )
        error.samples = wrong.flatten(1).any(1).nonzero().flatten().tolist() if wrong.dim() > 1 else None
        error.batch_size = labels.shape[0]
        raise error

    return labels.clamp(0, classes - 1) if postponed.check(wrong.any(), refuse) else labels


def refuse_weights(setup: Setup) -> None:
    """Refuses `normalization: WEIGHTS` in a layer whose positions have no weights.

    Raises:
        NetError: the layer has it.
    """
    if setup.message.loss_param.normalization == WEIGHTS:
        raise setup.error(
            "has no class weights to divide by",
            found="normalization: WEIGHTS",
            expected="FULL, VALID, BATCH_SIZE or NONE",
            advice="WEIGHTS goes with SoftmaxWithLoss, class_weighting and weight_by_label_freqs: true",
        )


def refuse_unread(setup: Setup, read: tuple[str, ...]) -> None:
    """Refuses fields of loss_param that a layer would not go by.

    Raises:
        NetError: the layer has others than `read`.
    """
    unread = [field.name for field, _ in setup.message.loss_param.ListFields() if field.name not in read]
    if unread:
        expected = " and ".join(read) + " alone"
        raise setup.error("does not go by all of its loss_param", found=", ".join(unread), expected=expected)


def loss_norm(normalization: int, valid: Tensor, outer: int) -> Tensor | int:
    """The divisor of a loss, at least 1: VALID counts valid positions, FULL all; BATCH_SIZE is `outer`."""
    if normalization == VALID:
        return valid.sum().clamp(min=1)
    return max(1, valid.numel() if normalization == FULL else outer if normalization == BATCH_SIZE else 1)
