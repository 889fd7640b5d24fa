"""Checks everything that needs an NVIDIA GPU, in one command of at most nine minutes and without a network.

    make gpu                          # or: python benchmarks/gpu.py --out gpu-out
    python benchmarks/gpu.py --dry    # without a GPU: the parts that the CPU can run, at small sizes

The steps: facts about the machine; build the CUDA module for this card, in the checkout; the filter's times
and their floors (cuda_filter.py); the tests marked gpu; training steps of DeepLab-LargeFOV with and without
the DenseCRF loss (training_step.py), and every mode of training beside plain PyTorch (training_modes.py); one
model's scores on the GPU and on the CPU (devices.py); compute-sanitizer on a few tests. Each step runs in its
own process with a time limit, so that one that fails or hangs does not cost the others. OUT/gpu.json and
OUT/gpu.md are rewritten after every step.

Needs Python with torch, NumPy, click, protobuf, Pillow, tqdm and everything that the tests import; the build
needs nvcc, g++, cmake and pybind11. The report names what is missing, and steps that need it are left out.
--wheels DIR unpacks a folder's wheels for this run. A checkout without rlossctl/prototxt/schema.desc also
needs grpcio-tools.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TOTAL = 540.0  # seconds
LEAST = 5.0  # seconds; with less time left, a step is not started
PACKAGES = ("torch", "numpy", "click", "google.protobuf", "PIL", "tqdm", "pytest", "pybind11", "onnxruntime")
TOOLS = ("nvidia-smi", "nvcc", "g++", "cmake", "ninja", "compute-sanitizer")
SANITIZED = "crf_small or as_often or leaves_out"  # small images: a sanitizer is many times slower
DRY_ARCHITECTURE = "9.0"  # used if no card can be asked
DRY_PATIENCE = 4  # a shared processor is slow, and a dry run measures nothing


@dataclass
class Step:
    """The result of a step.

    Attributes:
        state: running, ok, failed, timed out, or left out.
        why: why a step failed or was left out.
        figures: its measurements.
        output: the end of its output.
    """

    name: str
    limit: float
    state: str = "running"
    seconds: float = 0.0
    why: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    ends: float = field(default=0.0, repr=False)  # on the monotonic clock; not written


@dataclass(frozen=True)
class Run:
    """The settings that all steps share."""

    out: Path
    dry: bool
    wheels: Path | None
    site: Path
    deadline: float
    commit: str | None

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), str(self.site), os.environ.get("PYTHONPATH")]))
        own = str(Path(sys.executable).parent)
        tools = os.pathsep.join(
            [own, os.environ.get("PATH", ""), "/usr/local/cuda/bin", "/usr/local/nvidia/bin"]
        )
        return {**os.environ, "PYTHONPATH": path, "PATH": tools, "PYTHONUNBUFFERED": "1"}

    def tool(self, name: str) -> str | None:
        return shutil.which(name, path=self.environment["PATH"])


class LeftOut(Exception):
    """A step cannot run here; the text says what it needs."""


class Failed(Exception):
    """A step's command failed."""


def main(words: Sequence[str] | None = None) -> int:
    arguments = parse(words)
    out = arguments.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    patience = DRY_PATIENCE if arguments.dry else 1
    deadline = time.monotonic() + patience * TOTAL
    run = Run(out, arguments.dry, arguments.wheels, out / "site", deadline, arguments.commit)
    unpack(run)
    report: dict[str, Any] = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dry": run.dry,
        "steps": [],
    }
    for name, limit, action in chosen_steps(arguments.only):
        step = Step(name, min(patience * limit, max(0.0, run.deadline - time.monotonic())))
        report["steps"].append(step)
        write(run.out, report)  # if the run is killed, the report shows the step
        perform(run, step, action)
        write(run.out, report)
        print(f"{step.name:<10} {step.state:<9} {step.seconds:6.1f} s  {step.why}", flush=True)
    print(f"written: {run.out / 'gpu.json'} and {run.out / 'gpu.md'}")
    return int(any(step.state in ("failed", "timed out") for step in report["steps"]))


def chosen_steps(names: Sequence[str] | None) -> Iterator[tuple[str, float, Callable[[Run, Step], None]]]:
    """The steps of these names, all for None; the machine is always described."""
    for name, limit, action in STEPS:
        if names is None or name in (*names, "machine"):
            yield name, limit, action


def perform(run: Run, step: Step, action: Callable[[Run, Step], None]) -> None:
    """Runs one step; any error becomes its result."""
    start = time.monotonic()
    step.ends = start + step.limit
    try:
        if step.limit < LEAST:
            raise LeftOut("no time was left")
        action(run, step)
        step.state = "ok"
    except LeftOut as reason:
        step.state, step.why = "left out", str(reason)
    except subprocess.TimeoutExpired:
        step.state, step.why = "timed out", f"after {step.limit:.0f} s"
    except Exception as error:
        step.state, step.why = "failed", f"{error}" if isinstance(error, Failed) else repr(error)
    step.seconds = round(time.monotonic() - start, 1)


def call(run: Run, step: Step, command: Sequence[object], needs: Sequence[str] = ()) -> str:
    """Runs a command in the checkout within the step's limit; returns its output.

    Raises:
        LeftOut: a tool or package in `needs` is missing.
        Failed: its exit status is not 0.
        subprocess.TimeoutExpired: it took too long; it and all processes that it started were killed.
    """
    missing = [name for name in needs if not available(run, name)]
    if missing:
        raise LeftOut(f"needs {', '.join(missing)}")
    log = run.out / f"{step.name}.log"
    with log.open("ab") as file:
        begin = file.tell()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env=run.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(max(0.1, step.ends - time.monotonic()))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            printed = log.read_bytes()[begin:].decode(errors="replace")
            step.output = printed[-3000:]
    if status:
        raise Failed(f"{Path(str(command[0])).name} ended with status {status}; see {log.name}")
    return printed


def available(run: Run, name: str) -> bool:
    """Whether a tool is on the path, or a package can be imported."""
    if name == "gpu":
        return not run.dry and run.tool("nvidia-smi") is not None
    return run.tool(name) is not None if name in TOOLS else not missing_packages(run, [name])


def missing_packages(run: Run, names: Sequence[str]) -> list[str]:
    sys.path[:0] = [str(run.site)] if str(run.site) not in sys.path else []
    return [name for name in names if not _found(name)]


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def unpack(run: Run) -> None:
    """Unpacks the wheels in the folder given with --wheels, so that they can be imported."""
    for wheel in sorted(run.wheels.glob("*.whl")) if run.wheels else ():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(run.site)


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


def cuda_filter(run: Run, step: Step) -> None:
    """Milliseconds for the filter and the loss, and the floors of this card."""
    figures = run.out / "filter-figures.json"
    command = [sys.executable, "benchmarks/cuda_filter.py", "--repeats", 30, "--json", figures]
    try:
        call(run, step, command, needs=["gpu", "torch"])
    finally:  # it writes after every size
        step.figures = load(figures)


def tests(run: Run, step: Step) -> None:
    """Runs the tests marked gpu (all are skipped without a GPU)."""
    results = run.out / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += [f"--junitxml={results}", *gpu_tests()]
    try:
        call(run, step, command, needs=["torch", "pytest"])
    finally:
        if results.is_file():
            suite = ElementTree.parse(results).getroot()[0]
            step.figures = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
            reasons = {case.get("message", "") for case in suite.iter("skipped")}
            step.why = f"skipped: {'; '.join(sorted(reasons))}" if reasons else ""


def gpu_tests() -> Iterator[str]:
    """The files with tests marked gpu; for a conftest with the mark, its folder."""
    for file in sorted((ROOT / "tests").rglob("*.py")):
        if "mark.gpu" in file.read_text(encoding="utf-8"):
            yield str((file.parent if file.name == "conftest.py" else file).relative_to(ROOT))


def training(run: Run, step: Step) -> None:
    """Training steps of DeepLab-LargeFOV on generated data, with and without the DenseCRF loss."""
    figures = run.out / "training-figures.json"
    command = [sys.executable, "benchmarks/training_step.py", "--device", run.device, "--json", figures]
    small = ["--batch", 1, "--size", 65, "--repeats", 2]
    call(run, step, [*command, *(small if run.dry else ["--repeats", 10, "--distinct", 4])], needs=["torch"])
    step.figures = load(figures)


def training_modes(run: Run, step: Step) -> None:
    """Every mode of training beside plain PyTorch."""
    figures = run.out / "modes-figures.json"
    command = [sys.executable, "benchmarks/training_modes.py", "--device", run.device, "--json", figures]
    small = ["--batch", 1, "--size", 65, "--steps", 1, "--rounds", 1, "--distinct", 1]
    call(run, step, [*command, *(small if run.dry else [])], needs=["torch"])
    step.figures = load(figures)


def evaluation(run: Run, step: Step) -> None:
    """Compares one model's scores on the GPU and on the CPU."""
    figures = run.out / "evaluation-figures.json"
    command = [sys.executable, "benchmarks/devices.py", "--device", run.device, "--json", figures]
    small = ["--images", 4, "--updates", 3]
    call(run, step, [*command, *(small if run.dry else [])], needs=["torch"])
    step.figures = load(figures)


def sanitizer(run: Run, step: Step) -> None:
    """Runs compute-sanitizer on a few tests; a dry run uses AddressSanitizer on the emulated kernels."""
    if run.dry:
        _sanitize_emulated(run, step)
        return
    tests_of = ["python", "-m", "pytest", "-q", "-m", "gpu", "tests/bilateral", "-k", SANITIZED]
    tests_of[0] = sys.executable
    for tool in ("memcheck", "racecheck"):
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", 9, *tests_of]
        printed = call(run, step, command, needs=["gpu", "compute-sanitizer", "pytest"])
        step.figures[tool] = (re.findall(r"[A-Z]+ SUMMARY: .*", printed) or ["no summary"])[-1]


def _sanitize_emulated(run: Run, step: Step) -> None:
    sources = [f"native/cuda/{name}" for name in ("filter.cu", "exact.cu", "plan.cu", "device.cu")]
    sources += ["native/cuda/emulate.cpp", "native/cuda/sanitize.cpp"]
    flags = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-DRLOSSCTL_EMULATE"]
    program = run.out / "sanitize"
    command = ["g++", *flags, "-fsanitize=address,undefined", "-x", "c++", *sources, "-o", program]
    call(run, step, command, needs=["g++"])
    printed = call(run, step, [program]).strip()
    step.figures["emulated kernels under ASan and UBSan"] = printed.rpartition("\n")[2]


STEPS: tuple[tuple[str, float, Callable[[Run, Step], None]], ...] = (
    ("machine", 40, machine),
    ("build", 120, build),
    ("filter", 90, cuda_filter),
    ("tests", 120, tests),
    ("training", 60, training),
    ("modes", 100, training_modes),
    ("evaluation", 150, evaluation),
    ("sanitizer", 120, sanitizer),
)


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def write(out: Path, report: dict[str, Any]) -> None:
    """Writes both files; each is complete or unchanged."""
    plain = {**report, "steps": [asdict(step) for step in report["steps"]]}
    for step in plain["steps"]:
        del step["ends"]
    for name, text in (("gpu.json", json.dumps(plain, indent=2) + "\n"), ("gpu.md", markdown(plain))):
        part = out / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(out / name)


def markdown(report: dict[str, Any]) -> str:
    """Tables: the steps, the filter with its floors, and every other figure."""
    steps = {step["name"]: step for step in report["steps"]}
    title = "Dry run without a GPU" if report["dry"] else "On a GPU"
    lines = [f"# {title}, {report['started']}", ""]
    if report["dry"]:
        lines += ["Sizes are tiny, and a processor takes the GPU's place: these figures measure nothing.", ""]
    rows = [(name, s["state"], f"{s['seconds']:.1f}", s["why"] or "-") for name, s in steps.items()]
    lines += table(("step", "result", "s", "why"), rows)
    for name, step in steps.items():
        rows = [(key, shown(value)) for key, value in step["figures"].items() if key != "sizes"]
        if rows:
            lines += ["", f"## {name}", "", *table(("what", "figure"), rows)]
        sizes = step["figures"].get("sizes")
        if sizes:
            lines += [
                "",
                "Milliseconds per batch; the columns bytes and work are floors, target is the design goal.",
                "",
            ]
            lines += table(tuple(sizes[0]), [tuple(map(shown, row.values())) for row in sizes])
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells]


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "none"
    return "-" if value is None else str(value)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-out"), help="folder for gpu.json, gpu.md and logs"
    )
    parser.add_argument("--dry", action="store_true", help="run what works without a GPU, at small sizes")
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="folder with wheels of packages that are not installed"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="STEP",
        choices=[name for name, *_ in STEPS],
        help="these steps alone: %(choices)s",
    )
    parser.add_argument("--commit", help="the commit to record, for a copy without its history")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
