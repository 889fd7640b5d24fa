"""The counts of an evaluation: one matrix for the set, and a few numbers per class for every image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rlossctl.counts import ClassCounts
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.predicting.rules import Decision
from rlossctl.evaluation.scoring import boundary
from rlossctl.evaluation.scoring.confusion import Confusion


class Tally:
    """The counts of a set of known size, so memory does not grow while it is filled.

    Args:
        total: how many images the list has.
        masks: whether predictions are masks, which may overlap: counts per class, without a matrix.
        band: the boundary's width as a share of the diagonal, or None to leave out boundary IoU.
        part: the part of the list that is counted.

    Attributes:
        places: the places in the list of the part's N images.
        done: bool [N], the images that have been counted.
        rows: int32 [N, 3 or 6, C]: hits, truth, predicted for each image, then the same for its boundary.
        seconds: wall-clock time spent so far, in this run and earlier ones.
    """

    def __init__(
        self,
        total: int,
        num_classes: int,
        ignore: int,
        masks: bool = False,
        band: float | None = None,
        part: Part | None = None,
    ) -> None:
        self._confusion, self._masks = Confusion(num_classes, ignore), masks
        self.num_classes, self.ignore, self.band = num_classes, ignore, band
        self.places = (part or Part()).places(total)
        self.done = np.zeros(len(self.places), bool)
        self.rows = np.zeros((len(self.places), 3 if band is None else 6, num_classes), np.int32)
        self.seconds = 0.0

    @property
    def confusion(self) -> Confusion | None:
        """The set's confusion matrix; None with masks."""
        return None if self._masks else self._confusion

    def missing(self) -> list[int]:
        """The places of the images that are not counted yet."""
        return [place for place, done in zip(self.places, self.done, strict=True) if not done]

    def counted(self) -> list[int]:
        """The places of the images that are counted, in the order of the list."""
        return [place for place, done in zip(self.places, self.done, strict=True) if done]

    def add(self, place: int, truth: np.ndarray, decision: Decision, where: object = None) -> None:
        """Counts the image at a place of the list.

        Raises:
            DataError: as for `Confusion.add`.
        """
        counts = [self._count(truth, decision, where)]
        if self.band is not None:
            counts.append(self._count_boundary(truth, decision, self.band))
        self._keep(place, np.concatenate([part.to_array() for part in counts]))

    def add_pairs(self, place: int, pairs: np.ndarray, where: object = None) -> None:
        """Adds one image's counted byte pairs; see `Confusion.add_pairs`. Does not count boundaries.

        Raises:
            DataError: as for `Confusion.add_pairs`.
        """
        image = Confusion(self.num_classes, self.ignore)
        image.add_pairs(pairs, where)
        self._confusion.merge(image)
        self._keep(place, image.counts().to_array())

    def _keep(self, place: int, rows: np.ndarray) -> None:
        index = self.places.index(place)
        self.rows[index] = rows
        self.done[index] = True

    def merge(self, other: Tally) -> None:
        """Adds the counts of a part of this set, whose images are not counted here yet. Whole numbers are
        summed, so nothing is rounded."""
        mine = slice(other.places.start, None, other.places.step)
        self.rows[mine] += other.rows
        self.done[mine] |= other.done
        self.seconds += other.seconds
        self._confusion.merge(other._confusion)

    def counts(self) -> ClassCounts:
        """The counts of each image: [N, C]."""
        return ClassCounts.from_array(self.rows[:, :3])

    def boundary(self) -> ClassCounts | None:
        """The counts of each image's boundary: [N, C]; None without a band."""
        return None if self.band is None else ClassCounts.from_array(self.rows[:, 3:])

    def arrays(self) -> dict[str, np.ndarray]:
        """All counts; see `update`."""
        parts: dict[str, np.ndarray] = {"done": self.done.astype(np.uint8), "rows": self.rows}
        if not self._masks:
            parts["matrix"] = self._confusion.matrix
            parts["unassigned"] = self._confusion.unassigned
            parts["ignored"] = np.array(self._confusion.ignored, np.int64)
        return parts

    def update(self, parts: Mapping[str, np.ndarray]) -> None:
        """Replaces the counts with `arrays()` of another tally of the same set.

        Raises:
            ValueError: they are not such arrays.
        """
        shapes = {name: (part.shape, part.dtype) for name, part in self.arrays().items()}
        if {name: (part.shape, part.dtype) for name, part in parts.items()} != shapes:
            raise ValueError("arrays with other shapes")
        self.done = parts["done"].astype(bool)
        self.rows = parts["rows"]
        if not self._masks:
            self._confusion.matrix = parts["matrix"]
            self._confusion.unassigned = parts["unassigned"]
            self._confusion.ignored = int(parts["ignored"])

    def _count(self, truth: np.ndarray, decision: Decision, where: object) -> ClassCounts:
        image = Confusion(self.num_classes, self.ignore)
        if decision.masks is None:
            image.add(truth, decision.label_map, where)
            self._confusion.merge(image)
            return image.counts()
        image.add(truth, np.zeros_like(truth), where)  # only to check the label's ids
        return ClassCounts.of_masks(truth, decision.masks, self.ignore)

    def _count_boundary(self, truth: np.ndarray, decision: Decision, band: float) -> ClassCounts:
        if decision.masks is None:
            return boundary.count_labels(truth, decision.label_map, self.num_classes, self.ignore, band)
        return boundary.count_masks(truth, decision.masks, self.ignore, band)
