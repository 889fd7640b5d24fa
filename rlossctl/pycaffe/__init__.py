"""`import caffe`, without Caffe: nets, solvers, layers and tools under the names that pycaffe's scripts use."""

from __future__ import annotations

from rlossctl.net.pycaffe import TEST, TRAIN, Layer
from rlossctl.pycaffe.net import Net

