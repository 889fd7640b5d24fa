"""What is left of pycaffe's names: a clock, the layer types, training on several GPUs."""

from __future__ import annotations

import time
from typing import Any, NoReturn

import torch

from rlossctl.errors import RlossError
from rlossctl.net import registry
from rlossctl.pycaffe import mode


class Timer:
    """A clock that waits for the GPU.

    Attributes:
        ms: milliseconds between start and stop.
    """

    def __init__(self) -> None:
        self._began = self._ended = 0.0

    def start(self) -> None:
        """Begins to count."""
        _wait()
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Stops counting."""
        _wait()
        self._ended = time.perf_counter()

    @property
    def ms(self) -> float:
        """Milliseconds between start and stop."""
        return 1000 * (self._ended - self._began)


class NCCL:
    """Caffe's training on several GPUs, which needs a build with NCCL; this one has none."""

    def __init__(self, *_: Any) -> None:
        _no_nccl()

    @staticmethod
    def new_uid() -> bytes:
        """Refuses."""
        _no_nccl()


def has_nccl() -> bool:
    """False: as in a build without NCCL."""
    return False


def layer_type_list() -> list[str]:
    """The names of all layer types."""
    return sorted(registry.kinds())


def solver_count() -> int:
    """1: the number of solvers that train together."""
    return 1


def set_solver_count(count: int) -> None:
    """Takes 1."""
    if int(count) != 1:
        _no_nccl()


def solver_rank() -> int:
    """0: the number of this solver."""
    return 0


def set_solver_rank(rank: int) -> None:
    """Takes 0."""
    if int(rank) != 0:
        _no_nccl()


def set_multiprocess(several: bool) -> None:
    """Takes False."""
    if several:
        _no_nccl()


def _wait() -> None:
    if mode.device().type == "cuda":
        torch.cuda.synchronize()


def _no_nccl() -> NoReturn:
    raise RlossError(
        "a script trains on one GPU only",
        where="caffe.NCCL",
        found="a request for several solvers",
        expected="has_nccl() asked before: it is False",
        advice="train on several GPUs with torchrun ... -m rlossctl train (docs/training.md)",
    )
