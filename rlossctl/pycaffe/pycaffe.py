"""caffe.pycaffe: nets and solvers under the name of the module in which Caffe finishes them."""

from __future__ import annotations

from rlossctl.pycaffe._caffe import (
    NCCL,
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    Net,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Timer,
)

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Net",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
]
