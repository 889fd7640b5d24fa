"""Scores that stay on the device: torch takes the best class there.

Only the images are copied, each once, to its place in a buffer that all batches of one size share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rlossctl.evaluation.running.answers import check_scores
from rlossctl.net.best_class import best_classes


class OnDevice:
    """A runner whose scores are torch tensors on one device, which may be "cpu"; subclasses give `_scores`.

    Attributes:
        device: where the scores are.
        channels: as for `Runner`.
    """

    channels: int

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._buffer = torch.empty(0, device=device)

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w], which the caller may keep."""
        return self._run(list(batch)).to("cpu", copy=True).numpy()

    @torch.inference_mode()
    def best_classes(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """The class with the greatest score at every pixel, on the device.

        Args:
            images: N of one size, float32 [3, H, W] each.

        Returns:
            uint8 [N, H, W]: what `rules.best_class` gives for the upsampled scores; VOID if any is NaN.
        """
        return best_classes(self._run(images), images[0].shape[1:])

    @torch.inference_mode()
    def scores_and_classes(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, torch.Tensor]:
        """The results of `scores` and `best_classes`, from one pass."""
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
        check_scores(tuple(scores.shape), len(images), self.channels)
        return scores
