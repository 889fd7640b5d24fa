"""benchmarks/gpu.py: steps that fail or hang lose nothing of the others."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def gpu(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with hardly any patience."""
    monkeypatch.syspath_prepend(repository / "benchmarks")
    spec = importlib.util.spec_from_file_location("gpu_script", repository / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_script", module)
    spec.loader.exec_module(module)
    step = importlib.import_module("gpu_steps.step")
    monkeypatch.setattr(step, "LEAST", 0.1)
    monkeypatch.setattr(module, "DRY_PATIENCE", 1)
    return module


def python(code: str, needs: tuple[str, ...] = ()):
    """A step that runs Python code."""

    def action(run, step):
        from gpu_steps.step import call

        step.figures["printed"] = call(run, step, [sys.executable, "-c", code], needs).strip()

    return action


def run(gpu: ModuleType, out: Path, *steps) -> tuple[int, dict]:
    gpu.STEPS = steps
    status = gpu.main(["--dry", "--out", str(out)])
    report = json.loads((out / "gpu.json").read_text())
    return status, {step["name"]: step for step in report["steps"]}


@pytest.mark.slow
def test_every_step_has_its_own_fate(gpu, tmp_path):
    note = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    hang = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {note!r}])"
    status, steps = run(
        gpu,
        tmp_path / "out",
        ("good", 30, python("print(6 * 7)")),
        ("bad", 30, python("print('almost'); raise SystemExit(3)")),
        ("slow", 3, python(hang)),
        ("poor", 30, python("", needs=("no_such_package", "compute-sanitizer"))),
        ("last", 30, python("print('there')")),
    )
    assert status == 1
    states = {name: step["state"] for name, step in steps.items()}
    assert states == {"good": "ok", "bad": "failed", "slow": "timed out", "poor": "left out", "last": "ok"}
    assert steps["good"]["figures"] == {"printed": "42"}
    assert "status 3" in steps["bad"]["why"] and "almost" in steps["bad"]["output"]
    assert "no_such_package" in steps["poor"]["why"]
    assert steps["last"]["figures"] == {"printed": "there"}
    if shutil.which("ps"):
        assert not alive(int((tmp_path / "pid").read_text())), "what the slow step started has ended with it"


def alive(pid: int) -> bool:
    """Whether a process still runs (one that has ended may wait for its parent)."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.slow
def test_no_step_outlasts_the_whole_time(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "TOTAL", 1.0)
    start = time.monotonic()
    status, steps = run(
        gpu,
        tmp_path / "out",
        ("slow", 30, python("import time; time.sleep(60)")),
        ("late", 30, python("print()")),
    )
    assert time.monotonic() - start < 10 and status == 1
    assert steps["slow"]["state"] == "timed out" and steps["late"]["why"] == "no time was left"


def test_results_are_written_before_the_end(gpu, tmp_path):
    """A run that is ended keeps what it has, and shows what was running."""

    def look(run, step):
        step.figures["seen"] = [
            one["state"] for one in json.loads((run.out / "gpu.json").read_text())["steps"]
        ]

    _, steps = run(gpu, tmp_path, ("first", 30, python("print(1)")), ("second", 30, look))
    assert steps["second"]["figures"]["seen"] == ["ok", "running"]


def test_wheels_are_unpacked(gpu, tmp_path):
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "carried-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried_package.py", "ANSWER = 42\n")
    gpu.STEPS = (("step", 30, python("import carried_package as c; print(c.ANSWER)", ("carried_package",))),)
    words = ["--dry", "--out", str(tmp_path / "out"), "--wheels", str(tmp_path / "wheels")]
    assert gpu.main(words) == 0
    assert "| printed | 42 |" in (tmp_path / "out" / "gpu.md").read_text()


def test_the_filter_is_shown_beside_its_floors(gpu):
    sizes = [{"size": 41, "loss": 0.0612, "bytes": 0.0012, "work": None}]
    from gpu_steps.report import markdown
    from gpu_steps.step import Step

    step = Step("filter", 9, "ok", figures={"GB/s in a copy": 4312.5, "sizes": sizes})
    text = markdown({"dry": False, "started": "now", "steps": [asdict(step)]})
    assert "| size | loss | bytes | work |" in text and "| 41 | 0.0612 | 0.0012 | - |" in text
    assert "| GB/s in a copy | 4312 |" in text or "| GB/s in a copy | 4313 |" in text


def test_every_file_with_gpu_tests_is_run(gpu, repository):
    from gpu_steps.testing import gpu_tests

    found = list(gpu_tests())
    assert "tests/bilateral" in found and "tests/evaluation/test_on_device.py" in found
    assert all((repository / name).exists() for name in found)
