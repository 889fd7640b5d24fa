"""Pixel counts per class, and the scores that follow from them: IoU, Dice, precision, recall, their means.

Evaluation and the metric layers of a prototxt compute their figures here. A class that never occurs has no
score (NaN); the caller chooses with `Absent` how a mean counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Absent = Literal["skip", "zero", "one"]
ABSENT: dict[Absent, float | None] = {"skip": None, "zero": 0.0, "one": 1.0}
BYTES = 256
VOID = 255  # the label of a pixel that got no class


@dataclass(frozen=True)
class ClassCounts:
    """For each class, how many pixels have it in the truth, in the prediction, and in both.

    Attributes:
        hits, truth, predicted: integers [..., C]; leading axes, if any, are images.
    """

    hits: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of_masks(cls, truth: np.ndarray, masks: np.ndarray, ignore: int) -> ClassCounts:
        """The counts of one image, from masks that may overlap.

        Args:
            truth: uint8 [H, W], ids in [0, C) or the ignore label; ignored pixels are not counted.
            masks: bool [C, H, W].
        """
        valid = truth != ignore
        own = [valid & (truth == index) for index in range(len(masks))]
        return cls(
            hits=np.array([np.count_nonzero(mask & true) for mask, true in zip(masks, own, strict=True)]),
            truth=np.array([np.count_nonzero(true) for true in own]),
            predicted=np.array([np.count_nonzero(mask & valid) for mask in masks]),
        )

    @classmethod
    def from_array(cls, values: np.ndarray) -> ClassCounts:
        """The inverse of `to_array`."""
        hits, truth, predicted = np.moveaxis(values, -2, 0)
        return cls(hits, truth, predicted)

    def to_array(self) -> np.ndarray:
        """Hits, truth and predicted as [..., 3, C]."""
        return np.stack([self.hits, self.truth, self.predicted], axis=-2)

    def images(self, places: Sequence[int]) -> ClassCounts:
        """The counts of these images: [N, C]."""
        return ClassCounts(self.hits[places], self.truth[places], self.predicted[places])

    def image(self, index: int) -> ClassCounts:
        """The counts of one image: [C]."""
        return ClassCounts(self.hits[index], self.truth[index], self.predicted[index])

    def sum(self) -> ClassCounts:
        """The counts summed over all images: [C]."""
        return ClassCounts(
            *(part.sum(axis=0, dtype=np.int64, initial=0) for part in (self.hits, self.truth, self.predicted))
        )

    def pixel_accuracy(self) -> float | None:
        """The share of counted pixels that are right; None if nothing was counted.

        Only for counts [C] with one class per pixel; the share is undefined for masks that overlap.
        """
        total = int(self.truth.sum())
        return int(self.hits.sum()) / total if total else None

    def frequency_weighted_iou(self) -> float | None:
        """The classes' mean IoU, weighted by their true pixels; counts as for `pixel_accuracy`."""
        total = int(self.truth.sum())
        return float(np.nansum(self.iou() * self.truth)) / total if total else None

    def miou(self, of: Sequence[int] | None = None, absent: Absent = "skip") -> float | None:
        """Mean IoU from counts [C]; see `class_mean`."""
        return class_mean(self.iou(), of, absent)

    def mious(self, of: Sequence[int] | None = None) -> np.ndarray:
        """Mean IoU for each entry of the leading axes, over the classes `of` that occur; NaN if none does."""
        return nan_mean(self.iou()[..., np.s_[:] if of is None else list(of)], -1)

    def iou(self) -> np.ndarray:
        """Intersection over union; NaN if neither truth nor prediction has the class."""
        return ratio(self.hits, self.truth + self.predicted - self.hits)

    def dice(self) -> np.ndarray:
        """F1: twice the intersection, over the sum of true and predicted pixels; NaN as for `iou`."""
        return ratio(2 * self.hits, self.truth + self.predicted)

    def precision(self) -> np.ndarray:
        """The share of predicted pixels that are right; NaN if nothing was predicted."""
        return ratio(self.hits, self.predicted)

    def recall(self) -> np.ndarray:
        """The share of true pixels that were found; NaN if the truth lacks the class."""
        return ratio(self.hits, self.truth)


@dataclass(frozen=True)
class CaffeScores:
    """The three values of Caffe's SegAccuracy layer, in the order of its top."""

    pixel_accuracy: float
    mean_recall: float
    mean_iou: float


def caffe_scores(counts: ClassCounts) -> CaffeScores:
    """The values of the rloss / DeepLab fork's SegAccuracy layer for counts [C] (seg_accuracy_layer.cpp).

    Caffe has different rules for classes that never occur: their IoU is 1, so that the mean is over all
    classes, and a mean over nothing is 0.
    """
    return CaffeScores(
        pixel_accuracy=counts.pixel_accuracy() or 0.0,
        mean_recall=class_mean(counts.recall()) or 0.0,
        mean_iou=class_mean(counts.iou(), absent="one") or 0.0,
    )


@dataclass(frozen=True)
class ImageWise:
    """Averages over the scores of single images, as in RankDice's appendix A; None if undefined.

    An image leaves out classes that occur neither in its truth nor in its prediction; a class that is only
    predicted counts as 0. Images whose pixels are all ignored are left out.

    Attributes:
        miou_images, mdice_images: each image's mean over its classes, then the mean over images.
        miou_classes, mdice_classes: each class's mean over images, then the mean over classes.
        images: how many images have a score.
    """

    miou_images: float | None
    mdice_images: float | None
    miou_classes: float | None
    mdice_classes: float | None
    images: int


def image_wise(counts: ClassCounts, of: Sequence[int] | None = None) -> ImageWise:
    """Image-wise averages from counts [N, C] over the classes `of` (all by default)."""
    seen = counts.truth.sum(axis=1) > 0
    chosen = np.s_[:] if of is None else list(of)
    iou, dice = counts.iou()[seen][:, chosen], counts.dice()[seen][:, chosen]
    return ImageWise(
        miou_images=_mean(nan_mean(iou, 1)),
        mdice_images=_mean(nan_mean(dice, 1)),
        miou_classes=_mean(nan_mean(iou, 0)),
        mdice_classes=_mean(nan_mean(dice, 0)),
        images=int((~np.isnan(iou)).any(axis=1).sum()),
    )


@dataclass(frozen=True)
class LabelScores:
    """The scores of predictions with one class per pixel; None or NaN if undefined.

    Attributes:
        iou: of each class, float64 [C].
    """

    miou: float | None
    pixel_accuracy: float | None
    mean_accuracy: float | None
    frequency_weighted_iou: float | None
    mdice: float | None
    iou: np.ndarray


def label_scores(
    counts: ClassCounts, of: Sequence[int] | None = None, absent: Absent = "skip"
) -> LabelScores:
    """The scores of a set from its counts [C].

    Args:
        of: the classes that count in means over classes, all by default.
        absent: how a class without a score counts.
    """
    return LabelScores(
        miou=counts.miou(of, absent),
        pixel_accuracy=counts.pixel_accuracy(),
        mean_accuracy=class_mean(counts.recall(), of, absent),
        frequency_weighted_iou=counts.frequency_weighted_iou(),
        mdice=class_mean(counts.dice(), of, absent),
        iou=_filled(counts.iou(), absent),
    )


def image_label_scores(
    counts: ClassCounts, of: Sequence[int] | None = None, absent: Absent = "skip"
) -> LabelScores:
    """The means over images of each image's scores, from counts [N, C]; images without a label are left out.

    Args:
        of, absent: as for `label_scores`, in each image.
    """
    counts = counts.images(np.flatnonzero(counts.truth.sum(axis=1)).tolist())
    chosen = np.s_[:] if of is None else list(of)
    total = counts.truth.sum(axis=1)

    def mean(values: np.ndarray) -> float | None:
        return _mean(nan_mean(_filled(values[:, chosen], absent), 1))

    return LabelScores(
        miou=mean(counts.iou()),
        pixel_accuracy=_mean(ratio(counts.hits.sum(axis=1), total)),
        mean_accuracy=mean(counts.recall()),
        frequency_weighted_iou=_mean(ratio(np.nansum(counts.iou() * counts.truth, axis=1), total)),
        mdice=mean(counts.dice()),
        iou=nan_mean(_filled(counts.iou(), absent), 0),
    )


def byte_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How often each pair of bytes occurs at the same place: (256, 256), `first` in rows."""
    pairs = (first.astype(np.uint16) << 8) | second
    return np.bincount(pairs.ravel(), minlength=BYTES * BYTES).reshape(BYTES, BYTES)


def ratio(part: np.ndarray, whole: np.ndarray, absent: float = np.nan) -> np.ndarray:
    """part / whole in float64, or `absent` where whole is 0; shapes are broadcast."""
    occurs = np.asarray(whole) != 0
    return np.where(occurs, part / np.where(occurs, whole, 1), absent)


def nan_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of the defined values along an axis; NaN if there are none."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis))


def class_mean(values: np.ndarray, of: Sequence[int] | None = None, absent: Absent = "skip") -> float | None:
    """The mean over classes.

    Args:
        values: float [C], NaN for classes without a value.
        of: the classes that count, all by default.
        absent: leave out classes without a value, or count them as 0 or 1.

    Returns:
        None if nothing is left.
    """
    return _mean(_filled(values if of is None else values[list(of)], absent))


def _filled(values: np.ndarray, absent: Absent) -> np.ndarray:
    """The values with what `absent` says in place of NaN."""
    fill = ABSENT[absent]
    return values if fill is None else np.where(np.isnan(values), fill, values)


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)].tolist()
    return sum(defined) / len(defined) if defined else None
