"""One confusion matrix over a whole set, and every score that follows from it.

The matrix is filled image by image and scored once at the end. Averages over the scores of single images are
different numbers, which most papers do not print; rlossctl.counts computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlossctl.counts import (
    BYTES,
    VOID,
    Absent,
    CaffeScores,
    ClassCounts,
    byte_pairs,
    caffe_scores,
    class_mean,
)
from rlossctl.data.images import check_labels
from rlossctl.errors import DataError


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class, each in [0, 1], or None if its denominator is zero.

    Attributes:
        iou: intersection over union.
        accuracy: the share of the class's true pixels that are predicted as the class (recall).
        pixels: how many true pixels the class has.
        dice: twice the intersection, over the sum of true and predicted pixels.
        precision: the share of the pixels predicted as the class that are right.
    """

    iou: float | None
    accuracy: float | None
    pixels: int
    dice: float | None
    precision: float | None


class Confusion:
    """Counts of (true class, predicted class) pairs over all pixels that are not ignored.

    Attributes:
        matrix: (C, C) int64, truth in rows, prediction in columns.
        unassigned: (C,) int64, pixels by true class whose prediction is VOID: they are wrong, but do not
            count as false positives of any class.
        ignored: how many pixels had the ignore label.
    """

    def __init__(self, num_classes: int, ignore: int = 255) -> None:
        if not 1 <= num_classes <= VOID:
            raise ValueError(f"num_classes must be 1 to {VOID}, not {num_classes}")
        if not 0 <= ignore < BYTES:
            raise ValueError(f"ignore must be 0 to {BYTES - 1}, not {ignore}")
        self.num_classes = num_classes
        self.ignore = ignore
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.unassigned = np.zeros(num_classes, np.int64)
        self.ignored = 0

    def add(self, truth: np.ndarray, prediction: np.ndarray, where: object = None) -> None:
        """Counts one or more label maps.

        Args:
            truth: class ids of any shape and number type, each in [0, C) or the ignore label.
            prediction: class ids of the same shape; where the truth is not ignored, each in [0, C) or VOID.
            where: the label file's name, for errors.

        Raises:
            DataError: the shapes differ, or ids are fractions or out of range (Caffe's SegAccuracy also
                aborts).
        """
        if truth.shape != prediction.shape:
            raise DataError(
                "label and prediction differ in size",
                where=where,
                found=f"label {truth.shape}, prediction {prediction.shape}",
                expected="the same height and width",
                advice="check that the label belongs to the image",
            )
        if truth.dtype != np.uint8 or prediction.dtype != np.uint8:  # a cast would fold 300 and -1 into ids
            self._check(truth, prediction, where)
            truth, prediction = truth.astype(np.uint8), _bytes(prediction)
        # Count byte pairs once, and look for invalid ids in the margins of that table, not in the maps.
        self._add(byte_pairs(truth, prediction), where, (truth, prediction))

    def add_pairs(self, pairs: np.ndarray, where: object = None) -> None:
        """Adds pairs that are already counted.

        Args:
            pairs: integers [256, up to 256], how often each true id meets each predicted id.
            where: as for `add`.

        Raises:
            DataError: ids are out of range.
        """
        whole = np.zeros((BYTES, BYTES), np.int64)
        whole[:, : pairs.shape[1]] = pairs
        self._add(whole, where)

    def _add(
        self, pairs: np.ndarray, where: object, maps: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        """Adds pairs [256, 256], and may overwrite them; `maps` are the maps behind them, for errors."""
        classes, ignore = self.num_classes, self.ignore
        ignored = pairs[ignore].copy()
        pairs[ignore] = 0
        if pairs[classes:].any() or pairs[:, classes:VOID].any():
            pairs[ignore] = ignored
            truth, prediction = maps or np.indices(pairs.shape).reshape(2, -1).repeat(pairs.ravel(), axis=1)
            self._check(truth, prediction, where)
        self.matrix += pairs[:classes, :classes]
        self.unassigned += pairs[:classes, VOID]
        self.ignored += int(ignored.sum())

    def _check(self, truth: np.ndarray, prediction: np.ndarray, where: object) -> None:
        """Raises DataError for invalid ids; where the truth is ignored, a prediction may be anything."""
        _check_ids(truth, self.num_classes, self.ignore, where)
        name = f"prediction for {where or 'this image'}"
        _check_ids(prediction[truth != self.ignore], self.num_classes, VOID, name)

    def merge(self, other: Confusion) -> None:
        """Adds the counts of another part of the same set."""
        self.matrix += other.matrix
        self.unassigned += other.unassigned
        self.ignored += other.ignored

    def counts(self) -> ClassCounts:
        """Pixels per class: [C] each."""
        truth = self.matrix.sum(axis=1) + self.unassigned
        return ClassCounts(self.matrix.diagonal().copy(), truth, self.matrix.sum(axis=0))

    def classes(self) -> list[ClassScore]:
        """One ClassScore for each class, in the order of the ids."""
        return class_scores(self.counts())

    def miou(self, of: Sequence[int] | None = None, absent: Absent = "skip") -> float | None:
        """Mean IoU over the classes that occur in the truth or the prediction; None if none does.

        `of` gives the classes to average over (all by default); `absent` says how to count a class that never
        occurs.
        """
        return self.counts().miou(of, absent)

    def mean_accuracy(self, of: Sequence[int] | None = None) -> float | None:
        """Mean recall over the classes that occur in the truth; None if none does."""
        return class_mean(self.counts().recall(), of)

    def pixel_accuracy(self) -> float | None:
        """The share of counted pixels that are right; None if nothing was counted."""
        return self.counts().pixel_accuracy()

    def frequency_weighted_iou(self) -> float | None:
        """The classes' mean IoU, weighted by their true pixels; None if nothing was counted."""
        return self.counts().frequency_weighted_iou()

    def caffe_scores(self) -> CaffeScores:
        """The numbers that the rloss / DeepLab fork's SegAccuracy layer prints for the same pixels."""
        return caffe_scores(self.counts())


def class_scores(counts: ClassCounts) -> list[ClassScore]:
    """The scores of each class from counts [C]."""
    values = (counts.iou(), counts.recall(), counts.truth, counts.dice(), counts.precision())
    return [
        ClassScore(number(iou), number(recall), int(pixels), number(dice), number(precision))
        for iou, recall, pixels, dice, precision in zip(*values, strict=True)
    ]


def number(value: float) -> float | None:
    """A score as a plain number; None for NaN."""
    return None if np.isnan(value) else float(value)


def _check_ids(ids: np.ndarray, classes: int, ignore: int, where: object) -> None:
    broken = ids[np.floor(ids) != ids] if ids.dtype.kind == "f" else ids[:0]  # NaN too
    if broken.size:
        raise DataError(
            "label ids are not whole numbers",
            where=where,
            found=f"{broken[0]:g} ({broken.size} of {ids.size} pixels)",
            expected=f"0..{classes - 1}, or {ignore} for unlabelled",
            advice="check that these are class ids, not scores",
        )
    check_labels(ids, classes, ignore, where)


def _bytes(ids: np.ndarray) -> np.ndarray:
    """A checked prediction as bytes; values outside a byte occur only where the truth is ignored."""
    return np.where((ids >= 0) & (ids < BYTES), ids, VOID).astype(np.uint8)
