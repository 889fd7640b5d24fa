"""Passes that fail leave no trace: data positions, random generators and statistics as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rlossctl.net import Net
from rlossctl.solver.snapshots import resume
from rlossctl.solver.telling.monitor import SmoothedLoss
from rlossctl.solver.updating.schedules import Schedules


class Undo:
    """Remembers where a run stood before the passes under way.

    Args:
        nets: the training net, then the test nets.
        smoothed: the displayed loss.
        schedules: of the training net's losses.
    """

    def __init__(self, nets: Sequence[Net], smoothed: SmoothedLoss, schedules: Schedules) -> None:
        self._nets = nets
        self._smoothed = smoothed
        self._schedules = schedules
        self._statistics = _statistics(nets[0])
        self._kept = [torch.empty_like(blob) for blob in self._statistics]
        self._begun: resume.Position | None = None

    def position(self) -> resume.Position:
        """Where the run stood before the passes under way; where it stands, if there are none."""
        return self._begun or resume.position(self._nets, self._smoothed, self._schedules)

    @contextlib.contextmanager
    def if_it_fails(self, fed: bool) -> Iterator[None]:
        """Puts everything back when the block fails.

        Args:
            fed: the caller feeds batches and knows where they stand; data sources are then left alone.
        """
        if self._statistics:
            torch._foreach_copy_(self._kept, self._statistics)
        begun = None if fed else resume.position(self._nets, self._smoothed, self._schedules)
        self._begun = begun
        try:
            yield
        except Exception:
            if self._statistics:
                torch._foreach_copy_(self._statistics, self._kept)
            self.put_back(begun)
            raise
        finally:
            self._begun = None

    def put_back(self, position: resume.Position | None) -> None:
        """Returns to a position of this run; does nothing for None."""
        if position is not None:
            resume.put_back(position, self._nets, self._smoothed, self._schedules)


def _statistics(net: Net) -> list[Tensor]:
    return [blob.detach() for layer in net.layers for blob in layer.module.moving()]
