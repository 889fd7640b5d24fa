"""The CUDA kernels for tests: on a GPU, or their source compiled for the CPU (native/cuda/emulate.hpp)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from rlossctl.bilateral import backend, choice, cuda
from rlossctl.bilateral.gated import Pairs

FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
DEFINES = ["-DRLOSSCTL_EMULATE", "-DRLOSSCTL_MODULE=_emulated_cuda"]
SOURCES = ["filter.cu", "exact.cu", "gated.cu", "plan.cu", "device.cu", "emulate.cpp", "module.cpp"]


@pytest.fixture(scope="session")
def emulated(repository: Path, request: pytest.FixtureRequest) -> ModuleType:
    """The module rlossctl._native_cuda, emulated; compiled once for each state of its source."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    pybind11 = pytest.importorskip("pybind11")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C++ compiler (g++, or what CXX names)")
    room = repository / "native/cuda"
    headers = [sysconfig.get_path("include"), pybind11.get_include()]
    command = [compiler, *FLAGS, *WARNINGS, *DEFINES, *(f"-isystem{folder}" for folder in headers)]
    state = hashlib.sha256(repr((command, sys.version)).encode())
    for path in sorted(room.iterdir()):
        state.update(path.read_bytes())
    built = request.config.cache.mkdir("cuda-emulation") / f"{state.hexdigest()[:16]}.so"
    if not built.exists():
        compile_module(command, room, built)
    spec = importlib.util.spec_from_file_location("_emulated_cuda", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_module(command: list[str], room: Path, built: Path) -> None:
    scratch = built.with_suffix(f".{os.getpid()}")
    scratch.mkdir()
    running = []
    for name in SOURCES:
        arguments = ["-x", "c++", "-c", str(room / name), "-o", str(scratch / f"{name}.o")]
        running.append(subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True))
    errors = [process.communicate()[1] for process in running]
    assert not any(process.returncode for process in running), "".join(errors)
    objects = [str(scratch / f"{name}.o") for name in SOURCES]
    subprocess.run([command[0], "-shared", *objects, "-o", str(scratch / "module.so")], check=True)
    (scratch / "module.so").replace(built)
    shutil.rmtree(scratch)


@pytest.fixture
def emulated_kernels(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """rlossctl.bilateral.cuda with the emulated module below it, for tensors on the CPU."""
    monkeypatch.setattr(cuda, "_kernel", lambda: emulated)
    monkeypatch.setattr(cuda, "_current_stream", lambda device, *kept: contextlib.nullcontext(0))
    emulated.set_schedule(1)
    return cuda


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def kernels(request: pytest.FixtureRequest) -> SimpleNamespace:
    """What rlossctl.bilateral.cuda offers, for tensors on the CPU: emulated, or by way of the GPU."""
    cuda_kernels = request.getfixturevalue(f"{request.param}_kernels")
    device = "cuda" if request.param == "gpu" else "cpu"

    def by_way_of_device(function: Callable) -> Callable:
        def call(*arguments: object, **named: object) -> object:
            result = function(*(moved(argument, device) for argument in arguments), **named)
            return (
                tuple(moved(part, "cpu") for part in result)
                if type(result) is tuple
                else moved(result, "cpu")
            )

        return call

    class Lattices(cuda_kernels.Lattices):
        def __init__(self, image: torch.Tensor, *sigmas: float) -> None:
            super().__init__(image.to(device), *sigmas)

        filter = by_way_of_device(cuda_kernels.Lattices.filter)

    names = ("lattice_filter", "densecrf", "exact_filter", "gated_filter", "gated_crf")
    functions = {name: by_way_of_device(getattr(cuda_kernels, name)) for name in names}
    return SimpleNamespace(Lattices=Lattices, **functions)


def moved(value: object, device: str) -> object:
    if isinstance(value, Pairs):
        return Pairs(*(moved(getattr(value, field.name), device) for field in fields(value)))
    return value.to(device) if isinstance(value, torch.Tensor) else value


@pytest.fixture
def gpu_kernels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """rlossctl.bilateral.cuda, where there is a GPU."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    chosen = backend("cuda")
    assert chosen.name == choice.CUDA, chosen.reason
    return cuda


@pytest.fixture
def batch() -> Callable:
    """batch(images, channels, colours, height, width): scores [N, K, H, W] and noisy patches [N, C, H, W]."""

    def make(
        images: int, channels: int, colours: int, height: int, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(images + 10 * channels + 100 * height + width)
        coarse = torch.rand(images, colours, -(-height // 5), -(-width // 5), generator=generator)
        smooth = coarse.repeat_interleave(5, 2).repeat_interleave(5, 3)[..., :height, :width]
        noise = torch.rand(images, colours, height, width, generator=generator)
        values = torch.randn(images, channels, height, width, generator=generator).softmax(dim=1)
        return values, ((0.8 * smooth + 0.2 * noise) * 255).round()

    return make
