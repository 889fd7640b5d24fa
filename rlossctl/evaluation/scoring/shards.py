"""An evaluation spread over processes: torchrun's, or any that have RANK and WORLD_SIZE."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from rlossctl.errors import UsageError
from rlossctl.evaluation.scoring.tally import Tally


@dataclass(frozen=True)
class Shard:
    """Which of `count` processes this is; each takes every `count`-th image from its `rank` on."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def takes(self, index: int) -> bool:
        """Whether an image is one of this process's."""
        return index % self.count == self.rank

    def sum(self, tally: Tally) -> None:
        """Adds up the counts of all processes, in each of them. Counts are whole numbers: no rounding."""
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
    """The shard that RANK and WORLD_SIZE name; all of the list where WORLD_SIZE is not set or 1.

    Raises:
        UsageError: they are no such numbers.
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
    """Leaves the group of processes, where one was joined."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
