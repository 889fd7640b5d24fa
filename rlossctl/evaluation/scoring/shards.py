"""Spreads an evaluation over processes: torchrun's, or any others with RANK and WORLD_SIZE."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from rlossctl.errors import UsageError
from rlossctl.evaluation.scoring.tally import Tally


@dataclass(frozen=True)
class Shard:
    """Which of `count` processes this is; each takes every `count`-th image, starting at its `rank`."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def takes(self, index: int) -> bool:
        """Whether this process evaluates the image."""
        return index % self.count == self.rank

    def sum(self, tally: Tally) -> None:
        """Gives every process the sum of all counts. Counts are whole numbers, so nothing is rounded."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        if not distributed.is_initialized():
            distributed.init_process_group("gloo")
        parts = tally.arrays()
        for name in sorted(parts):
            tensor = torch.from_numpy(parts[name].copy().reshape(-1))
            distributed.all_reduce(tensor)
            parts[name] = tensor.numpy().reshape(parts[name].shape)
        tally.update(parts)


def from_environment(environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard given by RANK and WORLD_SIZE; the whole list if WORLD_SIZE is unset or 1.

    Raises:
        UsageError: they are not numbers that name a process.
    """
    count, rank = environment.get("WORLD_SIZE", "1"), environment.get("RANK", "0")
    if not (count.isdigit() and rank.isdigit() and int(rank) < int(count)):
        raise UsageError(
            "RANK and WORLD_SIZE do not name a process",
            found=f"RANK={rank}, WORLD_SIZE={count}",
            expected="whole numbers, RANK below WORLD_SIZE, as torchrun sets them",
            advice="unset them, or start with torchrun",
        )
    return Shard(int(rank), int(count))


def close() -> None:
    """Leaves the process group, if this process joined one."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
