"""`import caffe`, without Caffe: nets, solvers, layers and tools under the names that pycaffe's scripts use.

    rlossctl run classify.py photo.jpg          # a script that says `import caffe`
    python -m rlossctl.pycaffe classify.py photo.jpg

    import rlossctl.pycaffe as caffe            # in a program of your own
    rlossctl.pycaffe.install()                  # from here on `import caffe` is this package

Nothing is installed under the name caffe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy
from rlossctl.net.pycaffe import TEST, TRAIN, Layer
from rlossctl.pycaffe import classifier, coord_map, detector, draw, io, net_spec, proto
from rlossctl.pycaffe.classifier import Classifier
from rlossctl.pycaffe.detector import Detector
from rlossctl.pycaffe.installing import install
from rlossctl.pycaffe.log import init_log, log
from rlossctl.pycaffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from rlossctl.pycaffe.net import Net
from rlossctl.pycaffe.net_spec import NetSpec, layers, params, to_proto
from rlossctl.pycaffe.tools import (
    NCCL,
    Timer,
    has_nccl,
    layer_type_list,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)

if TYPE_CHECKING:
    from rlossctl.pycaffe.solver import AdaDeltaSolver as AdaDeltaSolver
    from rlossctl.pycaffe.solver import AdaGradSolver as AdaGradSolver
    from rlossctl.pycaffe.solver import AdamSolver as AdamSolver
    from rlossctl.pycaffe.solver import NesterovSolver as NesterovSolver
    from rlossctl.pycaffe.solver import RMSPropSolver as RMSPropSolver
    from rlossctl.pycaffe.solver import SGDSolver as SGDSolver
    from rlossctl.pycaffe.solver import get_solver as get_solver

__version__ = "1.0.0"  # of the Caffe whose interface this is

# What a script that only predicts need not wait for.
SOLVERS = (
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "get_solver",
)
__getattr__ = lazy.exports(__name__, dict.fromkeys(SOLVERS, "rlossctl.pycaffe.solver"))

__all__ = [
    *SOLVERS,
    "NCCL",
    "TEST",
    "TRAIN",
    "Classifier",
    "Detector",
    "Layer",
    "Net",
    "NetSpec",
    "Timer",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "has_nccl",
    "init_log",
    "install",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
