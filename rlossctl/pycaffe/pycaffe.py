"""caffe.pycaffe: nets and solvers under the name of the module in which Caffe finishes them."""

from __future__ import annotations

from rlossctl import lazy
from rlossctl.pycaffe import SOLVERS
from rlossctl.pycaffe.net import Net
from rlossctl.pycaffe.tools import NCCL, Timer

__getattr__ = lazy.exports(__name__, dict.fromkeys(SOLVERS, "rlossctl.pycaffe.solver"))

__all__ = [*SOLVERS, "NCCL", "Net", "Timer"]
