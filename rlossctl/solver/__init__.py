"""Training: learning rate policies, update rules, the loop, snapshots, logs."""

from rlossctl.solver.load import load_solver
from rlossctl.solver.solver import Solver
from rlossctl.solver.telling.log import Log

__all__ = ["Log", "Solver", "load_solver"]
