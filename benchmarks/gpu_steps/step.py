"""A step of the run: its settings, its result, and the commands that it calls."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LEAST = 5.0  # seconds; with less time left, a step is not started
TOOLS = ("nvidia-smi", "nvcc", "g++", "cmake", "ninja", "compute-sanitizer")


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


Action = Callable[[Run, Step], None]


class LeftOut(Exception):
    """A step cannot run here; the text says what it needs."""


class Failed(Exception):
    """A step's command failed."""


def perform(run: Run, step: Step, action: Action) -> None:
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
