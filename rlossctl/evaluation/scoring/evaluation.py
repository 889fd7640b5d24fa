"""The results of one pass over a list."""

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
        index: its place among the counted images, from 0.
        name: the image file, found through the list.
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
    """The results of one pass.

    Attributes:
        confusion: counts over all scored pixels of all images; None if masks may overlap.
        class_names: one for each class.
        images: how many images were evaluated.
        seconds: wall-clock time of the whole pass, including reading and any runs before an interruption.
        backend: what computed the scores.
        preprocess: how the images were prepared; None if the model does it itself.
        counts: hits, true pixels and predicted pixels of each image, [images, C].
        image_names: image files, in the order of `counts`.
        protocol, rule: how probabilities and predictions were made.
        interest: the classes to average over, or None for all.
        boundary: the counts of each image's boundary, [images, C], or None.
        band: the boundary's width as a share of the diagonal, or None.
        pictures: the images kept for a report.
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
        """The confusion matrix; raises UsageError for masks, which may overlap and have no such matrix."""
        if self.confusion is None:
            raise UsageError(
                "masks can overlap, so they have no confusion matrix",
                expected="one class per pixel",
                advice="leave out --masks",
            )
        return self.confusion

    def miou(self) -> float | None:
        """The set's mean IoU over the classes of interest that occur; None if none does."""
        return self.counts.sum().miou(self.interest)
