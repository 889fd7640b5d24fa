"""The tests marked gpu, and compute-sanitizer on a few of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from xml.etree import ElementTree

from gpu_steps.step import ROOT, Run, Step, call

SANITIZED = "crf_small or as_often or leaves_out"  # small images: a sanitizer is many times slower
EMULATED = ("filter.cu", "exact.cu", "gated.cu", "plan.cu", "device.cu", "emulate.cpp", "sanitize.cpp")


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


def sanitizer(run: Run, step: Step) -> None:
    """Runs compute-sanitizer on a few tests; a dry run uses AddressSanitizer on the emulated kernels."""
    if run.dry:
        _sanitize_emulated(run, step)
        return
    tests_of = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/bilateral", "-k", SANITIZED]
    for tool in ("memcheck", "racecheck"):
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", 9, *tests_of]
        printed = call(run, step, command, needs=["gpu", "compute-sanitizer", "pytest"])
        step.figures[tool] = (re.findall(r"[A-Z]+ SUMMARY: .*", printed) or ["no summary"])[-1]


def _sanitize_emulated(run: Run, step: Step) -> None:
    sources = [f"native/cuda/{name}" for name in EMULATED]
    flags = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-DRLOSSCTL_EMULATE"]
    program = run.out / "sanitize"
    command = ["g++", *flags, "-fsanitize=address,undefined", "-x", "c++", *sources, "-o", program]
    call(run, step, command, needs=["g++"])
    printed = call(run, step, [program]).strip()
    step.figures["emulated kernels under ASan and UBSan"] = printed.rpartition("\n")[2]
