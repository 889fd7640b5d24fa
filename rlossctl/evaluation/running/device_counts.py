"""Scores that stay where they were computed: the best class and its counts are taken there, with torch.

What crosses over are the images, each once to its place in a buffer that batches of equal size share, the
labels' bytes, and now and then a small table of counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from rlossctl.evaluation.predicting.rules import VOID, not_numbers
from rlossctl.evaluation.running.runners import check_scores
from rlossctl.evaluation.scoring.confusion import BYTES
from rlossctl.evaluation.scoring.tally import Tally

_MOST_COUNTS = 1 << 24  # bytes of counts that wait on the device


class OnDevice:
    """A runner whose scores are torch tensors on one device, which may be "cpu"; subclasses give `_scores`.

    Attributes:
        device: where the scores are.
        num_classes: as for `Runner`.
    """

    num_classes: int

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._buffer = torch.empty(0, device=device)

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w], the caller's own."""
        return self._run(batch).to("cpu", copy=True).numpy()

    @torch.inference_mode()
    def best_classes(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """The class of greatest score of every pixel, on the device.

        Args:
            images: N of one size, float32 [3, H, W] each.

        Returns:
            uint8 [N, H, W]: what `rules.best_class` gives of the enlarged scores; VOID where one is NaN.
        """
        return best_classes(self._run(images), images[0].shape[1:])

    @torch.inference_mode()
    def scores_and_classes(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, torch.Tensor]:
        """What `scores` and `best_classes` give, from one pass."""
        scores = self._run(images)
        labels = best_classes(scores, images[0].shape[1:])
        return scores.to("cpu", copy=True).numpy(), labels

    def _scores(self, batch: torch.Tensor) -> torch.Tensor:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w], which the next call may overwrite."""
        raise NotImplementedError

    @torch.inference_mode()
    def _run(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        shape = (len(images), *images[0].shape)
        if self._buffer.shape != shape:
            self._buffer = torch.empty(shape, device=self.device)
        for place, image in zip(self._buffer, images, strict=True):
            place.copy_(torch.from_numpy(image))
        scores = self._scores(self._buffer)
        check_scores(tuple(scores.shape), len(images), self.num_classes)
        return scores


def best_classes(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """`OnDevice.best_classes` of scores [N, C, h, w]; torch's own argmax takes the first of equal scores."""
    if scores.shape[2:] != size:
        scores = nn.functional.interpolate(scores, size, mode="bilinear", align_corners=True)
    best = scores[:, 0].clone()
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index in range(1, scores.shape[1]):
        # Ids only grow, so a maximum puts the winner's in (see `rules.best_class`).
        wins = (scores[:, index] >= best).to(torch.uint8)
        torch.maximum(labels, wins.mul_(index), out=labels)
        torch.maximum(best, scores[:, index], out=best)
    return labels.masked_fill_(best.isnan(), VOID)


class DeviceCounts:
    """Counts label maps on their device, and hands them on to a tally in one copy for many images.

    Args:
        tally: what the counts go to.
        device: where the label maps are.
    """

    def __init__(self, tally: Tally, device: torch.device) -> None:
        self._tally, self._columns = tally, tally.num_classes + 1  # the last one is VOID
        most = max(1, min(256, _MOST_COUNTS // (4 * BYTES * self._columns)))
        self._pairs = torch.zeros((most, BYTES, self._columns), dtype=torch.int32, device=device)
        self._one = torch.ones((), dtype=torch.int32, device=device)
        self._waiting: list[tuple[int, object]] = []

    @torch.inference_mode()
    def add(self, index: int, truth: np.ndarray, labels: torch.Tensor, where: object = None) -> None:
        """Counts one image of the list.

        Args:
            truth: uint8 [H, W], ids and the ignore label.
            labels: uint8 [H, W] on the device, from `best_classes`.
            where: the label file's name, for errors.

        Raises:
            DataError: ids are out of range, in this image or in one before it.
            NetError: the scores were no numbers.
        """
        rows = torch.from_numpy(truth).to(labels.device).to(torch.int64) * self._columns
        pairs = rows + labels.clamp(max=self._columns - 1)
        self._pairs[len(self._waiting)].view(-1).scatter_add_(
            0, pairs.view(-1), self._one.expand(pairs.numel())
        )
        self._waiting.append((index, where))
        if len(self._waiting) == len(self._pairs):
            self.flush()

    @torch.inference_mode()
    def flush(self) -> None:
        """Brings all that was counted to the tally; raises as `add` does."""
        counted, self._waiting = self._waiting, []
        if not counted:
            return
        taken = self._pairs[: len(counted)]
        pairs = taken.to("cpu", copy=True).numpy()
        taken.zero_()
        for (index, where), table in zip(counted, pairs, strict=True):
            if table[:, -1].any():
                raise not_numbers()
            self._tally.add_pairs(index, table[:, :-1], where)
