"""caffe._caffe: what Caffe defines in C++."""

from __future__ import annotations

from rlossctl.net.pycaffe import Blob, BlobVec, Layer
from rlossctl.pycaffe.log import init_log, log
from rlossctl.pycaffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from rlossctl.pycaffe.net import Net
from rlossctl.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)
from rlossctl.pycaffe.tools import NCCL, Timer, has_nccl, layer_type_list

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "Layer",
    "Net",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
