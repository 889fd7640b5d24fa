"""Facts about the machine, and the native modules built for it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from gpu_steps.step import ROOT, TOOLS, Failed, Run, Step, available, call, missing_packages

PACKAGES = ("torch", "numpy", "click", "google.protobuf", "PIL", "tqdm", "pytest", "pybind11", "onnxruntime")
DRY_ARCHITECTURE = "9.0"  # used if no card can be asked


def machine(run: Run, step: Step) -> None:
    """Names and versions of hardware and software, and what is missing."""
    step.figures = {
        "commit": run.commit or _commit(run),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "CPUs": os.cpu_count(),
        "Python": platform.python_version(),
        "missing tools": [name for name in TOOLS if run.tool(name) is None],
        "missing packages": missing_packages(run, PACKAGES),
    }
    if run.tool("nvidia-smi"):
        query = "name,driver_version,memory.total,compute_cap"
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        names = ("GPU", "driver", "memory", "compute capability")
        values = call(run, step, command).strip().split("\n")[0].split(", ")
        step.figures.update(zip(names, values, strict=True))
    if run.tool("nvcc"):
        found = re.search(r"release ([\d.]+), V([\d.]+)", call(run, step, ["nvcc", "--version"]))
        step.figures["nvcc"] = found[2] if found else "unknown version"
    if available(run, "torch"):
        code = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"
        step.figures["torch, its CUDA, a device"] = call(run, step, [sys.executable, "-c", code]).strip()


def _commit(run: Run) -> str:
    if run.tool("git") is None:
        return "unknown: no git here"
    words = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=20)
    return found.stdout.strip() or "unknown: not a git checkout"


def build(run: Run, step: Step) -> None:
    """Builds the modules for this card and this Python in the checkout (a dry run leaves them in OUT)."""
    folder = run.out / "build"
    ask = [sys.executable, "-c", "import pybind11; print(pybind11.get_cmake_dir())"]
    pybind = call(run, step, ask, needs=["cmake", "g++", "pybind11"]).strip()
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    capability = DRY_ARCHITECTURE if run.dry else call(run, step, query, needs=["gpu"]).split()[0]
    architecture = f"{capability.replace('.', '')}-real"
    targets = [*(["_native_cuda"] if run.tool("nvcc") else []), "_native"]
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind,
        "CMAKE_CUDA_ARCHITECTURES": architecture,
    }
    generator = ["-G", "Ninja"] if run.tool("ninja") else []
    defined = [f"-D{name}={value}" for name, value in settings.items()]
    call(run, step, ["cmake", "-S", ROOT / "native", "-B", folder, *generator, *defined])
    step.figures = {"architecture": architecture}
    for target in targets:
        start = time.monotonic()
        call(run, step, ["cmake", "--build", folder, "--parallel", os.cpu_count() or 1, "--target", target])
        step.figures[f"{target} compiled in s"] = round(time.monotonic() - start, 1)
        for module in folder.rglob(f"{target}.*so") if not run.dry else ():
            shutil.copy2(module, ROOT / "rlossctl" / module.name)
    _schema(run, step, folder)
    if len(targets) == 1:
        raise Failed("the CUDA module was not built: nvcc is missing")


def _schema(run: Run, step: Step, folder: Path) -> None:
    """Compiles the schema if the checkout lacks it."""
    target = ROOT / "rlossctl" / "prototxt" / "schema.desc"
    if target.is_file():
        return
    call(run, step, ["cmake", "--build", folder, "--target", "schema"], needs=["grpc_tools"])
    shutil.copy2(folder / "schema.desc", target)
