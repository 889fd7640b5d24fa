"""The checks of `rlossctl doctor`: everything is actually tried, not only looked up."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import io
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rlossctl
from rlossctl.errors import RlossError
from rlossctl.words import counted

# Distributions whose module has another name; two builds of ONNX Runtime install the same module.
_MODULES = {
    "onnxruntime-gpu": "onnxruntime",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "protobuf": "google.protobuf",
}
_FORMS_OF_ALL = {"all", "dev"}  # extras that only combine others
_LITTLE_SPACE = 2**30


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        section, name: what was tried.
        works: whether it works; None for a fact, which can neither work nor fail.
        essential: whether rlossctl is useless without it.
        detail: what was found: a version, a device or an error.
        fix: the command or step that repairs it if it does not work.
    """

    section: str
    name: str
    works: bool | None
    essential: bool
    detail: str
    fix: str | None = None


def examine() -> list[Check]:
    """Tries everything in the order of the output. Loads torch and ONNX Runtime, and takes a few seconds."""
    return [
        *_machine(),
        *_packages(),
        *_own_files(),
        *_torch_devices(),
        *_filter(),
        *_onnx_providers(),
    ]


def healthy(checks: list[Check]) -> bool:
    """Whether everything essential works."""
    return all(check.works is not False for check in checks if check.essential)


def format_checks(checks: list[Check]) -> str:
    """A table by section, a fix for everything that is missing, and a one-line verdict."""
    width = max(len(check.name) for check in checks)
    lines = [f"rlossctl {rlossctl.__version__}"]
    section = None
    for check in checks:
        if check.section != section:
            section = check.section
            lines += ["", section]
        lines.append(f"  {_word(check):<8} {check.name:<{width}}  {check.detail}")
    fixes = [check for check in checks if check.fix and check.works is False]
    if fixes:
        lines += ["", "what to do"]
        lines += [f"  {check.name:<{width}}  {check.fix}" for check in fixes]
    failed = [check.name for check in checks if check.essential and check.works is False]
    verdict = f"does not work: {', '.join(failed)}" if failed else "everything essential works"
    return "\n".join([*lines, "", verdict])


def to_json(checks: list[Check]) -> dict[str, Any]:
    """Plain values: version, healthy, and the checks in order."""
    return {
        "version": rlossctl.__version__,
        "healthy": healthy(checks),
        "checks": [asdict(check) for check in checks],
    }


def _word(check: Check) -> str:
    if check.works is None:
        return ""
    if check.works:
        return "ok"
    return "FAILS" if check.essential else "missing"


def _attempt(action: Callable[[], str]) -> tuple[bool, str]:
    """Whether an action works, and its text or its error: a broken package can raise anything."""
    try:
        return True, action()
    except RlossError as error:
        return False, f"{error.message}: {error.found}"
    except Exception as error:
        text = re.sub(r"^/\S+:\d+ .*?\) ", "", str(error).strip().split("\n")[0])  # without the C++ location
        return False, f"{type(error).__name__}: {text}" if text else type(error).__name__


def _machine() -> Iterator[Check]:
    def fact(name: str, detail: str) -> Check:
        return Check("machine", name, None, False, detail)

    version = platform.python_version()
    yield Check(
        "machine",
        "Python",
        sys.version_info >= (3, 10),
        True,
        f"{version}, {sys.executable}",
        "install Python 3.10 or newer, and rlossctl with it",
    )
    yield fact("system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS")
    yield fact(
        "CPUs",
        f"{usable} of {os.cpu_count()} usable by this process"
        + (f", OMP_NUM_THREADS={limit}" if limit else ""),
    )
    for name, folder in (("disk here", Path.cwd()), ("disk for temporary files", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        fix = f"free some space on the disk that holds {folder}"
        yield Check(
            "machine", name, free >= _LITTLE_SPACE, False, f"{free / 2**30:.1f} GiB free, {folder}", fix
        )


def _packages() -> Iterator[Check]:
    """The packages that the installed rlossctl requires, each actually imported."""
    try:
        requirements = importlib.metadata.requires("rlossctl") or []
    except importlib.metadata.PackageNotFoundError:
        found = "not installed, so its requirements are unknown"
        yield Check("packages", "rlossctl", False, True, found, "pip install -e .  # in the checkout")
        return
    seen: set[str] = set()
    for requirement in requirements:
        distribution = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", requirement)
        module = _MODULES.get(distribution, distribution)
        if distribution == "rlossctl" or module in seen or (extra and extra[1] in _FORMS_OF_ALL):
            continue
        seen.add(module)
        works, detail = _attempt(functools.partial(_version, module, distribution))
        if extra:
            fix = f"pip install 'rlossctl[{extra[1]}]'"
            yield Check("optional packages", distribution, works, False, detail, fix)
        else:
            fix = f"pip install '{requirement.split(';')[0].strip()}'"
            yield Check("packages", distribution, works, True, detail, fix)


def _version(module: str, distribution: str) -> str:
    importlib.import_module(module)
    for name in (distribution, module):  # onnxruntime is installed under either name
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown version"


def _own_files() -> Iterator[Check]:
    from rlossctl.prototxt import schema
    from rlossctl.resources import configs_dir

    again = "pip install --force-reinstall rlossctl"
    works, detail = _attempt(lambda: f"{len(schema.descriptor('LayerParameter').fields)} layer fields")
    yield Check("rlossctl's files", "schema of prototxts", works, True, detail, again)
    works, detail = _attempt(lambda: str(configs_dir()))
    yield Check("rlossctl's files", "network configurations", works, False, detail, again)


def _torch_devices() -> Iterator[Check]:
    works, detail = _attempt(_torch_cpu)
    yield Check("devices", "torch on the CPU", works, True, detail, "pip install --force-reinstall torch")
    if not works:
        return
    import torch

    if not torch.cuda.is_available():
        build = torch.version.cuda or torch.version.hip
        if _nvidia_driver():
            fix = "install the torch build for your driver: https://pytorch.org/get-started/locally/"
            found = f"this torch is built for {build}" if build else "this torch is built for the CPU only"
            yield Check(
                "devices", "torch on CUDA", False, False, f"an NVIDIA driver is loaded, but {found}", fix
            )
        else:
            yield Check("devices", "torch on CUDA", None, False, "no NVIDIA driver is loaded")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        works, detail = _attempt(functools.partial(_torch_cuda, index))
        yield Check(
            "devices",
            f"torch on cuda:{index}",
            works,
            False,
            detail,
            "nvidia-smi  # shows which process holds the GPU",
        )


def _nvidia_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _torch_cpu() -> str:
    import torch

    product = torch.eye(3) @ torch.ones(3, 1)
    if product.sum().item() != 3:
        raise ArithmeticError(f"the sum of three ones is {product.sum().item()}")
    return f"{counted(torch.get_num_threads(), 'thread')}, {torch.backends.cpu.get_cpu_capability()}"


def _torch_cuda(index: int) -> str:
    import torch

    properties = torch.cuda.get_device_properties(index)
    if torch.ones(3, device=f"cuda:{index}").sum().item() != 3:
        raise ArithmeticError("the sum of three ones is wrong")
    capability = f"{properties.major}.{properties.minor}"
    memory = properties.total_memory / 2**30
    return f"{properties.name}, {memory:.0f} GiB, compute capability {capability}"


def _filter() -> Iterator[Check]:
    works, detail = _attempt(lambda: _filter_on("cpu"))
    fix = "apt install g++ python3-dev && pip install --force-reinstall --no-deps rlossctl"
    yield Check("DenseCRF filter", "works on the CPU", works, True, detail, fix)
    if not works:
        return
    import torch

    compiled, kernel = _attempt(_kernel)
    yield Check("DenseCRF filter", "compiled kernel", compiled, False, kernel, fix)
    if torch.cuda.is_available():
        works, detail = _attempt(lambda: _filter_on("cuda"))
        yield Check("DenseCRF filter", "works on CUDA", works, False, detail, "use --device cpu")


def _filter_on(device: str) -> str:
    """Runs a device's kernel on a small image, compares it with the torch twin, and says which one it is."""
    import torch

    from rlossctl.bilateral import backend, bilateral_filter

    chosen = backend(device)
    generator = torch.Generator().manual_seed(0)
    image = (torch.rand(1, 3, 12, 16, generator=generator) * 255).to(device)
    values = torch.rand(1, 2, 12, 16, generator=generator).to(device)
    # With these sigmas, no pixel is on a border of two simplices, where rounding would decide between them.
    sigmas = (5.1, 30.3)
    filtered = bilateral_filter(values, image, *sigmas)
    expected = bilateral_filter(values.double(), image.double(), *sigmas)  # always the torch twin
    error = ((filtered - expected).abs().max() / expected.abs().max()).item()
    if not error < 1e-4:
        raise ArithmeticError(f"{chosen.name} differs from the torch twin by {error:.1g}")
    return f"{chosen.name} ({chosen.reason}), within {error:.1g} of the torch twin"


def _kernel() -> str:
    from rlossctl.bilateral.choice import find_native

    module = find_native().needed()
    simd = getattr(module, "simd", None)
    return str(module.__file__) + (f", instructions: {simd()}" if simd else "")


def _onnx_providers() -> Iterator[Check]:
    section = "ONNX Runtime (a session made and run)"
    works, found = _attempt(_offered)
    if not works:
        yield Check(section, "CPUExecutionProvider", False, True, found, "pip install onnxruntime-gpu")
        return
    offered = found.split()
    for provider in offered:
        essential = provider == "CPUExecutionProvider"
        works, detail = _attempt(functools.partial(_run_tiny_model, provider))
        if not works and not essential and not _nvidia_driver():
            detail = "needs an NVIDIA GPU and its driver, which is not loaded"
        yield Check(section, provider, works, essential, detail, _provider_fix(provider))
    if _nvidia_driver() and "CUDAExecutionProvider" not in offered:
        fix = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
        yield Check(section, "CUDAExecutionProvider", False, False, "built without CUDA", fix)


def _offered() -> str:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return " ".join(onnxruntime.get_available_providers())


def _provider_fix(provider: str) -> str | None:
    if provider == "CPUExecutionProvider":
        return "pip install --force-reinstall onnxruntime-gpu"
    if not _nvidia_driver():
        return None
    if provider == "TensorrtExecutionProvider":
        return "pip install tensorrt  # only if you want TensorRT; CUDA works without it"
    return "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def _run_tiny_model(provider: str) -> str:
    """Runs a model of y = x + x in a session with only this provider, and checks the answer."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "tiny", value[:1], value[1:])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the libraries that it cannot find
        if provider != "CPUExecutionProvider":
            getattr(onnxruntime, "preload_dlls", lambda: None)()
        session = onnxruntime.InferenceSession(model, options, providers=[provider], enable_fallback=0)
    used = session.get_providers()[0]
    if used != provider:
        raise RuntimeError(f"the session runs on {used}: libraries or a device are missing")
    answer = session.run(None, {"x": np.ones(3, np.float32)})[0]
    if answer.tolist() != [2, 2, 2]:
        raise ArithmeticError(f"1 + 1 is {answer.tolist()}")
    return f"ONNX Runtime {onnxruntime.__version__}"
