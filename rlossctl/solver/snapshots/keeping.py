"""How many snapshots of a run stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl.solver.snapshots import snapshot
from rlossctl.solver.telling.figures import Saved
from rlossctl.solver.telling.listeners import Listener

if TYPE_CHECKING:
    from rlossctl.solver.solver import Solver


class Keep(Listener):
    """Deletes a run's oldest snapshots after each new one, so that `count` are left."""

    def __init__(self, solver: Solver, count: int) -> None:
        self._solver = solver
        self._count = count

    def saved(self, _snapshot: Saved) -> None:
        """Other runs' snapshots beside them stay."""
        for old in snapshot.newest_first(self._solver.saving.prefix, self._solver.progress.run)[
            self._count :
        ]:
            snapshot.remove(old.files)
            self._solver.log.info(f"Removed {old.files.state}: {self._count} snapshots are kept")
