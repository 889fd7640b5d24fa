"""Which photos of a list a process takes: one of torchrun's processes, or a part that the user names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from rlossctl.errors import UsageError


@dataclass(frozen=True)
class Part:
    """One of `count` parts of a list: every `count`-th photo, starting at place `rank`."""

    rank: int = 0
    count: int = 1

    def __str__(self) -> str:
        """The part as the user names it, from 1: 2/3."""
        return f"{self.rank + 1}/{self.count}"

    @property
    def first(self) -> bool:
        """Whether the process with this part prints and writes, if processes share their results."""
        return self.rank == 0

    @property
    def whole(self) -> bool:
        """Whether this is the whole list."""
        return self.count == 1

    def places(self, total: int) -> range:
        """The places of its photos in a list of `total`; none if there are more parts than photos."""
        return range(self.rank, total, self.count)


def from_environment(environment: Mapping[str, str] = os.environ) -> Part:
    """The part given by RANK and WORLD_SIZE; the whole list if WORLD_SIZE is unset or 1.

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
    return Part(int(rank), int(count))
