"""Counts label maps with torch, on the device that computed them.

Only the true labels' bytes are copied to the device, and now and then a small table of counts back.
"""

from __future__ import annotations

import numpy as np
import torch

from rlossctl.counts import BYTES
from rlossctl.evaluation.running.answers import not_numbers
from rlossctl.evaluation.scoring.tally import Tally

_MOST_COUNTS = 1 << 24  # at most this many bytes of counts wait on the device


class DeviceCounts:
    """Counts label maps on their device, and passes the counts of many images to a tally in one copy.

    Args:
        tally: receives the counts.
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
            labels: uint8 [H, W] on the device, from `OnDevice.best_classes`.
            where: the label file's name, for errors.

        Raises:
            DataError: ids are out of range, in this image or an earlier one.
            NetError: the scores were NaN.
        """
        rows = torch.from_numpy(truth).to(labels.device).to(torch.int64) * self._columns
        pairs = rows + labels.clamp(max=self._columns - 1)
        self._pairs[len(self._waiting)].view(-1).scatter_add_(
            0, pairs.view(-1), self._one.expand(pairs.numel())
        )
        self._waiting.append((index, where))
        if len(self._waiting) == len(self._pairs):
            self.flush()

    def on_device(self, labels: np.ndarray) -> torch.Tensor:
        """A label map, uint8 [H, W], copied to the device."""
        return torch.from_numpy(labels).to(self._one.device)

    @torch.inference_mode()
    def flush(self) -> None:
        """Passes all counts to the tally; raises the same errors as `add`."""
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
