"""What one pass over a list gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rlossctl.counts import ClassCounts
from rlossctl.data.label_ids import Suspicion
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.scoring.confusion import Confusion


@dataclass(frozen=True)
class Picture:
    """One evaluated image, for reports.

    Attributes:
        index: its place among the images that were counted, from 0.
        name: the image file as the list leads to it.
        photo: uint8 [H, W, 3] BGR.
        truth: uint8 [H, W] class ids and the ignore label.
        prediction: uint8 [H, W] class ids, 255 where the rule gave none.
    """

    index: int
    name: str
    photo: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """What one pass gave.

    Attributes:
        confusion: counts over all scored pixels of all images; None where masks may overlap.
        class_names: one for each class.
        images: how many images were evaluated.
        seconds: wall-clock time of the whole pass, reading included, with the runs before an interruption.
        backend: what computed the scores.
        preprocess: how the images were prepared; None where the model does it itself.
        counts: hits, truth and predicted pixels of each image, [images, C].
        image_names: image files, in the order of `counts`.
        protocol, rule: how probabilities and predictions were made.
        interest: the classes that means are taken over, or None for all.
        boundary: the counts of each image's boundary, [images, C], or None.
        band: the boundary's width as a share of the diagonal, or None.
        pictures: the images that were asked to be kept.
        warnings: reasons to doubt the scores.
        skipped: images that were left out -> why.
        stopped: what ended the pass before the end of the list, or "".
    """

    confusion: Confusion | None
    class_names: list[str]
    images: int
    seconds: float
    backend: str
    preprocess: Preprocess | None
    counts: ClassCounts
    image_names: list[str]
    protocol: Protocol = field(default_factory=Protocol)
    rule: Rule = field(default_factory=Rule)
    interest: tuple[int, ...] | None = None
    boundary: ClassCounts | None = None
    band: float | None = None
    pictures: list[Picture] = field(default_factory=list)
    warnings: tuple[Suspicion, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""

    def require_confusion(self) -> Confusion:
        """The confusion matrix; raises UsageError where masks may overlap, which have none."""
        if self.confusion is None:
            raise UsageError(
                "masks that may overlap have no confusion matrix",
                expected="one class per pixel",
                advice="leave --masks out",
            )
        return self.confusion

    def miou(self) -> float | None:
        """Mean IoU of the set over the classes of interest that occur; None when none does."""
        return self.counts.sum().miou(self.interest)
