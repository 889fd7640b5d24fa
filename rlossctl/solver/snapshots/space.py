"""Whether the disk has room for what a run will write."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import RlossError
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.solver.solver import Solver

BYTES = 4  # of a float32


def check(solver: Solver, folder: Path, keep: int | None) -> None:
    """Refuses a run whose first snapshot would not fit, warns where not all would.

    Raises:
        RlossError: less is free than one snapshot takes.
    """
    one, count = snapshot_bytes(solver), snapshots_to_come(solver)
    if keep is not None:
        count = min(count, keep + 1)  # an old one goes after the new one is written
    free = shutil.disk_usage(folder).free
    if count and free < one:
        raise RlossError(
            "the disk has no room for a snapshot",
            where=folder,
            found=f"{_size(free)} free",
            expected=f"{_size(one)}: weights and solver state",
            advice="free some space, or name a folder on another disk with --out",
        )
    if free < count * one:
        solver.log.warning(
            f"{folder} has {_size(free)} free; the run would write {counted(count, 'snapshot')} of "
            f"{_size(one)}: free some space, or set --snapshot and --keep"
        )


def snapshot_bytes(solver: Solver) -> int:
    """What a snapshot takes, but for names and headers."""
    weights = sum(blob.numel() for blob in {id(blob): blob for blob in solver.net.parameters()}.values())
    copies = 2 if solver.param.HasField("ema_decay") else 1
    return BYTES * (copies * weights + sum(slot.numel() for slot in solver.history))


def snapshots_to_come(solver: Solver) -> int:
    """How many snapshots a run writes if nothing ends it early."""
    param, every = solver.param, solver.param.snapshot
    if not every:
        return int(param.snapshot_after_train)
    on_the_way = param.max_iter // every - solver.iter // every
    return max(0, on_the_way) + int(param.snapshot_after_train and param.max_iter % every != 0)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.1f} MB"
