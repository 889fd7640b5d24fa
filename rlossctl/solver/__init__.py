"""Training: learning rate policies, update rules, the loop, snapshots, logs. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.solver.load import load_solver as load_solver
    from rlossctl.solver.solver import Solver as Solver
    from rlossctl.solver.telling.log import Log as Log

_HOMES = {"Log": ".telling.log", "Solver": ".solver", "load_solver": ".load"}

__all__ = [*_HOMES]
__getattr__ = lazy.exports(__name__, _HOMES)
