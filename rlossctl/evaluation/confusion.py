"""One confusion matrix over a whole set, and every score that follows from it.

The matrix is filled image by image and scored once at the end. Averaging scores of single images instead
gives other (usually higher) numbers than papers print, so no such average is offered here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlossctl.data.images import check_labels
from rlossctl.errors import DataError


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; `iou` and `accuracy` are None where their denominator is zero.

    Attributes:
        iou: intersection over union, in [0, 1].
        accuracy: the share of the class's true pixels that were predicted as the class (recall).
        pixels: how many pixels have the class as truth.
    """

    iou: float | None
    accuracy: float | None
    pixels: int


@dataclass(frozen=True)
class CaffeScores:
    """The three values of Caffe's SegAccuracy layer, in the order of its top."""

    pixel_accuracy: float
    mean_recall: float
    mean_iou: float


class Confusion:
    """Counts of (true class, predicted class) pairs over all pixels that are not ignored.

    Attributes:
        matrix: (C, C) int64, truth in rows, prediction in columns.
        ignored: how many pixels had the ignore label.
    """

    def __init__(self, num_classes: int, ignore: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, not {num_classes}")
        self.num_classes = num_classes
        self.ignore = ignore
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.ignored = 0

    def add(self, truth: np.ndarray, prediction: np.ndarray, where: object = None) -> None:
        """Counts one or more label maps.

        Args:
            truth: class ids of any shape, each in [0, C) or the ignore label.
            prediction: class ids of the same shape, each in [0, C) where the truth is not ignored.
            where: the label file's name, for errors.

        Raises:
            DataError: the shapes differ, or ids are out of range (Caffe's SegAccuracy aborts there, too).
        """
        if truth.shape != prediction.shape:
            raise DataError(
                "label and prediction differ in size",
                where=where,
                found=f"label {truth.shape}, prediction {prediction.shape}",
                expected="the same height and width",
                advice="check that the label belongs to the image",
            )
        kept = truth != self.ignore
        true_ids = truth[kept].astype(np.int64)
        predicted_ids = prediction[kept].astype(np.int64)
        check_labels(true_ids, self.num_classes, None, where)
        check_labels(predicted_ids, self.num_classes, None, f"prediction for {where or 'this image'}")
        pairs = np.bincount(true_ids * self.num_classes + predicted_ids, minlength=self.num_classes**2)
        self.matrix += pairs.reshape(self.num_classes, self.num_classes)
        self.ignored += truth.size - true_ids.size

    def merge(self, other: Confusion) -> None:
        """Adds the counts of another part of the same set."""
        self.matrix += other.matrix
        self.ignored += other.ignored

    def classes(self) -> list[ClassScore]:
        """One ClassScore for each class, in the order of the ids."""
        hits, truth, predicted = self._margins()
        union = truth + predicted - hits
        return [
            ClassScore(_ratio(hits[c], union[c]), _ratio(hits[c], truth[c]), int(truth[c]))
            for c in range(self.num_classes)
        ]

    def miou(self) -> float | None:
        """Mean IoU over the classes that occur in the truth or in the prediction; None when none does."""
        return _mean([score.iou for score in self.classes()])

    def mean_accuracy(self) -> float | None:
        """Mean recall over the classes that occur in the truth; None when none does."""
        return _mean([score.accuracy for score in self.classes()])

    def pixel_accuracy(self) -> float | None:
        """The share of counted pixels that are right; None when nothing was counted."""
        return _ratio(np.trace(self.matrix), self.matrix.sum())

    def caffe_scores(self) -> CaffeScores:
        """What the rloss / DeepLab fork's SegAccuracy layer prints for the same pixels.

        The same matrix, other rules for empty classes: a class that neither truth nor prediction has
        counts as IoU 1 (so the mean is over all C classes), and a mean over nothing is 0.
        """
        classes = self.classes()
        iou = [1.0 if score.iou is None else score.iou for score in classes]
        return CaffeScores(
            pixel_accuracy=self.pixel_accuracy() or 0.0,
            mean_recall=self.mean_accuracy() or 0.0,
            mean_iou=sum(iou) / len(iou),
        )

    def _margins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.diag(self.matrix), self.matrix.sum(axis=1), self.matrix.sum(axis=0)


def _ratio(part: np.integer, whole: np.integer) -> float | None:
    return int(part) / int(whole) if whole else None


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
