"""SegmentationScores: mIoU and its like of a whole list, as `rlossctl eval` computes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rlossctl.counts import VOID, ClassCounts, LabelScores, image_label_scores, label_scores
from rlossctl.net.best_class import best_classes
from rlossctl.net.labels import check_labels, flatten_labels
from rlossctl.net.layer import ListMetric, Setup
from rlossctl.net.registry import computes
from rlossctl.outlines.segmentation_scores import SegmentationScoresOutline


@computes("SegmentationScores")
class SegmentationScores(SegmentationScoresOutline, ListMetric):
    """mIoU, pixel accuracy, mean accuracy, frequency-weighted IoU, mean Dice; IoU of each class.

    Bottoms: scores (N, C, h, w) and labels (N, 1, H, W); smaller scores are upsampled with aligned corners.
    Tops, in this order: scalars, and (C,) for the last one, in float64; shares in [0, 1], NaN if undefined.

    In phase TEST the counts grow from batch to batch until `restart`, so the last values are those of the
    list; in TRAIN each batch stands alone. With scope IMAGE every value is the mean over the images' own.
    `rlossctl eval` gives the same figures: its mIoU, and for scope IMAGE its image-wise mIoU.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._images: list[Tensor] = []

    def restart(self) -> None:
        """Forgets the batches so far."""
        self._images = []

    def counts(self) -> ClassCounts:
        return self._by_image().sum()

    @property
    def padding(self) -> int:
        """The first ignore label."""
        return self.ignored[0]

    @torch.no_grad()
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, ...]:
        if scores.is_meta:
            return self.without_values(scores, labels)
        if self.setup.phase == "TRAIN":
            self.restart()
        self._images.append(self._count(scores, labels))
        tops = [torch.as_tensor(value).to(scores.device) for value in self._values()]
        return tops[0] if self.setup.tops == 1 else tuple(tops[: self.setup.tops])

    def _count(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Hits, true and predicted pixels of each image: int64 [N, 3, C]."""
        height, width = labels.shape[-2:]
        found = best_classes(scores.float(), (height, width)).flatten(1).long()
        truth = flatten_labels(self, labels, len(scores), height * width)
        valid = torch.ones_like(truth, dtype=torch.bool)
        for ignored in self.ignored:
            valid &= truth != ignored
        check_labels(self, truth, valid, self.classes, self.ignored[0])
        if (found == VOID).any():
            raise self.error(
                "its scores are not numbers (NaN)",
                advice="the training has diverged: lower base_lr, or set clip_gradients",
            )
        image = torch.arange(len(scores), device=truth.device)[:, None]
        pairs = ((image * self.classes + truth) * self.classes + found)[valid]
        size = len(scores), self.classes, self.classes
        confusion = torch.bincount(pairs, minlength=len(scores) * self.classes**2).reshape(size)
        return torch.stack([confusion.diagonal(dim1=1, dim2=2), confusion.sum(2), confusion.sum(1)], 1)

    def _values(self) -> list[np.ndarray]:
        found = self._scores(self._by_image())
        means = (
            found.miou,
            found.pixel_accuracy,
            found.mean_accuracy,
            found.frequency_weighted_iou,
            found.mdice,
        )
        return [*(np.array(np.nan if value is None else value) for value in means), found.iou]

    def _by_image(self) -> ClassCounts:
        return ClassCounts.from_array(torch.cat(self._images).cpu().numpy())

    def _scores(self, counts: ClassCounts) -> LabelScores:
        if self.by_image:
            return image_label_scores(counts, self.interest, self.absent)
        return label_scores(counts.sum(), self.interest, self.absent)
