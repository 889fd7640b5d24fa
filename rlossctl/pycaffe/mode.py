"""CPU or GPU, and the random generator: what a script sets for the whole process."""

from __future__ import annotations

import warnings

import torch

from rlossctl.errors import RlossWarning


class NoGpu(RlossWarning):
    """A script asks for a GPU where there is none."""


class _Mode:
    """What was set.

    Attributes:
        gpu: set_mode_gpu was called last.
        number: the GPU of set_device.
        seed: of set_random_seed.
    """

    gpu = False
    number = 0
    seed: int | None = None


def set_mode_cpu() -> None:
    """Nets run on the CPU from here on; they take their weights along."""
    _Mode.gpu = False


def set_mode_gpu() -> None:
    """Nets run on the GPU from here on, or on the CPU, with a warning, where there is none."""
    _Mode.gpu = True
    if not torch.cuda.is_available():
        warnings.warn(
            "set_mode_gpu: this machine has no CUDA GPU, so nets run on the CPU", NoGpu, stacklevel=2
        )


def set_device(number: int) -> None:
    """The GPU that set_mode_gpu means."""
    _Mode.number = int(number)


def set_random_seed(seed: int) -> None:
    """Starts the generator that fillers, Dropout and data layers draw from."""
    _Mode.seed = int(seed)
    torch.manual_seed(_Mode.seed)


def seed() -> int | None:
    """The last seed, None if none was set."""
    return _Mode.seed


def device() -> torch.device:
    """Where nets run now."""
    if _Mode.gpu and torch.cuda.is_available():
        return torch.device("cuda", _Mode.number)
    return torch.device("cpu")
