"""caffe._caffe: what Caffe defines in C++."""

from __future__ import annotations

from rlossctl import lazy
from rlossctl.net.pycaffe import Blob, BlobVec, Layer
from rlossctl.pycaffe import SOLVERS
from rlossctl.pycaffe.log import init_log, log
from rlossctl.pycaffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from rlossctl.pycaffe.net import Net
from rlossctl.pycaffe.tools import NCCL, Timer, has_nccl, layer_type_list

__getattr__ = lazy.exports(__name__, dict.fromkeys((*SOLVERS, "Solver"), "rlossctl.pycaffe.solver"))

__all__ = [
    *SOLVERS,
    "NCCL",
    "Blob",
    "BlobVec",
    "Layer",
    "Net",
    "Timer",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
