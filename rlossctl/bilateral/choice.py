"""Chooses the kernel for a device, and says why a better one is missing."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from dataclasses import dataclass
from types import ModuleType

import torch

from rlossctl.errors import UsageError

VARIABLE = "RLOSSCTL_BILATERAL"
NATIVE = "native-cpu"
CUDA = "native-cuda"
TWIN = "torch-twin"


class FallbackWarning(UserWarning):
    """The native kernel is missing, so the slower torch twin runs instead."""


@dataclass(frozen=True)
class Backend:
    """The kernel chosen for a device: `name` is native-cpu, native-cuda or torch-twin, `reason` says why."""

    name: str
    reason: str


def backend(device: torch.device | str) -> Backend:
    """Returns the kernel that filters float32 tensors on `device` (float64 always uses the twin).

    The environment variable RLOSSCTL_BILATERAL=twin|native forces one.

    Raises:
        UsageError: the variable has another value, or forces a kernel that is missing here; or RLOSSCTL_SIMD
            names an instruction set that this processor does not support.
    """
    kind = torch.device(device).type
    forced = os.environ.get(VARIABLE, "")
    if forced not in ("", "twin", "native"):
        raise UsageError(
            "does not name a kernel",
            where=f"environment variable {VARIABLE}",
            found=repr(forced),
            expected="twin, native, or nothing",
            advice=f"unset {VARIABLE} to let the device decide",
        )
    if forced == "twin":
        return Backend(TWIN, f"forced by {VARIABLE}=twin")
    missing = _why_not_native(kind)
    if missing is None:
        name, module = (CUDA, "CUDA") if kind == "cuda" else (NATIVE, "native")
        why = f"forced by {VARIABLE}=native" if forced else f"the {module} module is built"
        return Backend(name, why if name == CUDA else f"{why} ({_instruction_set()})")
    if forced == "native":
        raise UsageError(
            "asks for the native kernel, which cannot run here",
            where=f"environment variable {VARIABLE}",
            found=missing,
            expected="the compiled module for the tensor's device, rlossctl._native or rlossctl._native_cuda",
            advice="install rlossctl with a C++ compiler (and nvcc for CUDA), or unset the variable",
        )
    return Backend(TWIN, missing)


def announce(chosen: Backend, device: torch.device) -> None:
    """Warns, once per process, that the CPU's native kernel is missing."""
    if chosen.name == TWIN and device.type == "cpu" and _why_not_native("cpu") == chosen.reason:
        _warn_once(chosen.reason)


@dataclass(frozen=True)
class Compiled:
    """A compiled module, or None and the reason why it cannot be used."""

    module: ModuleType | None
    missing: str = ""

    def needed(self) -> ModuleType:
        """The module.

        Raises:
            ImportError: it cannot be used.
        """
        if self.module is None:
            raise ImportError(self.missing)
        return self.module


@functools.cache
def find_native() -> Compiled:
    """The CPU kernel."""
    try:
        from rlossctl import _native
    except ImportError as error:
        return Compiled(None, f"the native module cannot be imported ({error})")
    return Compiled(_native)


@functools.cache
def find_cuda() -> Compiled:
    """The kernel for NVIDIA GPUs."""
    try:
        from rlossctl import _native_cuda
    except ImportError as error:
        why = f"the CUDA module cannot be imported; it is only built if nvcc is found ({error})"
        return Compiled(None, why)
    unusable = _native_cuda.why_unusable()
    return (
        Compiled(None, f"the CUDA module cannot run here ({unusable})")
        if unusable
        else Compiled(_native_cuda)
    )


def _instruction_set() -> str:
    """The instruction set that the native kernel will use: avx512, avx2 or plain."""
    try:
        return find_native().needed().simd()
    except ValueError as error:
        raise UsageError(
            "does not name an instruction set of this processor",
            where="environment variable RLOSSCTL_SIMD",
            found=str(error),
            expected="plain, avx2, avx512, or nothing",
            advice="unset RLOSSCTL_SIMD to let the processor decide",
        ) from error


def _why_not_native(kind: str) -> str | None:
    if kind not in ("cpu", "cuda"):
        return f"no native kernel for {kind}; the torch twin runs on the device"
    return (find_native() if kind == "cpu" else find_cuda()).missing or None


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"the bilateral filter runs in plain torch operations, many times slower than compiled: {reason}. "
        "Install rlossctl on a machine with a C++ compiler to get the native kernel.",
        FallbackWarning,
        stacklevel=_level_outside(),
    )


def _level_outside() -> int:
    """The stacklevel that makes `warnings.warn` name the first caller outside this package and torch."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] in ("rlossctl", "torch"):
        level, frame = level + 1, frame.f_back
    return level
