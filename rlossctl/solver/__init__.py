"""Training: learning rate policies, update rules, the loop, snapshots, logs."""

from rlossctl.solver.load import load_solver
from rlossctl.solver.log import Log
from rlossctl.solver.solver import Solver

__all__ = ["Log", "Solver", "load_solver"]
