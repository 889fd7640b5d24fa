"""Metrics that a prototxt names: SegAccuracy and Accuracy. They have no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.counts import ClassCounts, caffe_scores, ratio
from rlossctl.net.labels import check_labels, flatten_labels
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import computes
from rlossctl.outlines.metric import AccuracyOutline, SegAccuracyOutline


@computes("SegAccuracy")
class SegAccuracy(SegAccuracyOutline, Layer):
    """Pixel accuracy, mean class recall and mean IoU as a (1, 1, 1, 3) top (seg_accuracy_layer.cpp).

    Ties go to the larger class. With reset: false the confusion matrix accumulates over the life of the net.
    Recall averages the classes that occur; IoU averages all classes and gives 1 to a class that neither
    occurs nor is predicted. `metric` has no effect, as in the original.
    """

    confusion: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.register_buffer("confusion", torch.zeros((self.classes, self.classes), dtype=torch.int64), False)

    @torch.no_grad()
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, ...]:
        if scores.is_meta:
            return self.without_values(scores, labels)
        if self.confusion.device != scores.device:
            self.confusion = self.confusion.to(scores.device)
        if self.resets:
            self.confusion.zero_()
        rows = scores.flatten(2)
        truth = flatten_labels(self, labels, rows.shape[0], rows.shape[2])
        valid = torch.ones_like(truth, dtype=torch.bool)
        for ignored in self.ignored:
            valid &= truth != ignored
        truth = check_labels(self, truth, valid, self.classes, self.ignored[0] if self.ignored else None)
        pairs = truth * self.classes + largest_argmax(rows, 1)
        self.confusion.view(-1).scatter_add_(0, pairs.masked_fill(~valid, 0).view(-1), valid.view(-1).long())
        return self._values().to(scores.dtype).reshape(1, 1, 1, 3)

    def _values(self) -> Tensor:
        """The three scores in float64, computed where the counts are: fetching them would wait for a GPU."""
        if self.confusion.device.type != "cpu":
            return device_scores(self.confusion)
        found = caffe_scores(_class_counts(self.confusion))
        values = [found.pixel_accuracy, found.mean_recall, found.mean_iou]
        return torch.tensor(values, dtype=torch.float64)


@computes("Accuracy")
class Accuracy(AccuracyOutline, Layer):
    """Share of labels among the top_k scores; a second top gives it per class (accuracy_layer.cpp).

    Ties: BVLC counts a label as right only if at most top_k scores reach its score; the forks sort by
    (score, index), descending. A class that does not occur gives 0, or 1 in SegNet, where the second top is
    (C, 1, 1, 1). SegNet and ENet count labels beyond the classes as wrong: their published nets have 11
    classes and use label 11 for unlabelled pixels, without ignore_label. In other dialects such labels are an
    error. Not reproduced: the NaN of SegNet and ENet for a batch without valid labels (here: 0, as in BVLC).
    """

    @torch.no_grad()
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, ...]:
        if scores.is_meta:
            return self.without_values(scores, labels)
        rows = scores.movedim(self.axis, -1).reshape(-1, self.classes)  # (positions, C)
        truth = flatten_labels(self, labels, 1, rows.shape[0])[0]
        valid = torch.ones_like(truth, dtype=torch.bool) if self.ignore is None else truth != self.ignore
        if self.setup.dialect not in ("segnet", "enet"):
            truth = check_labels(self, truth, valid, self.classes, self.ignore)
        total = valid.sum()
        valid &= (truth >= 0) & (truth < self.classes)
        rows, truth = rows[valid], truth[valid]
        right = self._right(rows, truth)
        overall = (right.sum() / total.clamp(min=1)).to(scores.dtype)
        if self.setup.tops == 1:
            return overall
        occurs = torch.bincount(truth, minlength=self.classes)
        hits = torch.bincount(truth[right], minlength=self.classes)
        recall = ratio(hits.cpu().numpy(), occurs.cpu().numpy(), self.absent)
        return overall, torch.from_numpy(recall).to(scores).reshape(self.per_class_shape)

    def _right(self, rows: Tensor, truth: Tensor) -> Tensor:
        own = rows.gather(1, truth[:, None])
        if self.setup.dialect == "bvlc":
            return (rows >= own).sum(1) <= self.top_k
        index = torch.arange(self.classes, device=rows.device)
        ahead = (rows > own) | ((rows == own) & (index > truth[:, None]))
        return ahead.sum(1) < self.top_k


def _class_counts(confusion: Tensor) -> ClassCounts:
    """The counts of each class in a confusion matrix int64 [C, C], with the truth in rows."""
    matrix = confusion.numpy()
    return ClassCounts(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))


def device_scores(confusion: Tensor) -> Tensor:
    """`caffe_scores` of a confusion matrix int64 [C, C] in torch: (3,) in float64."""
    matrix = confusion.double()
    hits, truth, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    union = truth + predicted - hits
    recall = hits / truth.clamp(min=1)
    iou = (hits / union.clamp(min=1)).masked_fill(union == 0, 1.0)
    occurring = (truth > 0).sum().clamp(min=1)
    return torch.stack([hits.sum() / truth.sum().clamp(min=1), recall.sum() / occurring, iou.mean()])


def largest_argmax(scores: Tensor, axis: int) -> Tensor:
    """Index of the maximum; ties go to the largest index, which torch.argmax does not guarantee."""
    shape = [1] * scores.dim()
    shape[axis] = scores.shape[axis]
    index = torch.arange(scores.shape[axis], device=scores.device).reshape(shape)
    best = scores.amax(axis, keepdim=True)
    return index.masked_fill(scores != best, 0).amax(axis)
