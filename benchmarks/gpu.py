"""Checks everything that needs an NVIDIA GPU, in one command of at most nine minutes and without a network.

    make gpu                          # or: python benchmarks/gpu.py --out gpu-out
    python benchmarks/gpu.py --dry    # without a GPU: the parts that the CPU can run, at small sizes

The steps: facts about the machine; build the CUDA module for this card, in the checkout; the filter's times
and their floors (cuda_filter.py); the filter for points (cuda_points.py); the tests marked gpu; training
steps of DeepLab-LargeFOV with and without the DenseCRF loss (training_step.py), and every mode of training
beside plain PyTorch (training_modes.py); one model's scores on the GPU and on the CPU (devices.py);
compute-sanitizer on a few tests. Each step runs in its own process with a time limit, so that one that
fails or hangs does not cost the others. OUT/gpu.json and OUT/gpu.md are rewritten after every step.

Needs Python with torch, NumPy, click, protobuf, Pillow, tqdm and everything that the tests import; the build
needs nvcc, g++, cmake and pybind11. The report names what is missing, and steps that need it are left out.
--wheels DIR unpacks a folder's wheels for this run. A checkout without rlossctl/prototxt/schema.desc also
needs grpcio-tools.
"""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpu_steps.measuring import benchmark
from gpu_steps.preparing import build, machine
from gpu_steps.report import write
from gpu_steps.step import Action, Run, Step, perform
from gpu_steps.testing import sanitizer, tests

TOTAL = 540.0  # seconds
DRY_PATIENCE = 4  # a shared processor is slow, and a dry run measures nothing
SMALL = ("--batch", 1, "--size", 65)

# Each with its limit in seconds.
STEPS: tuple[tuple[str, float, Action], ...] = (
    ("machine", 40, machine),
    ("build", 120, build),
    ("filter", 90, benchmark("cuda_filter.py", ("--repeats", 30))),
    (
        "points",
        40,
        benchmark("cuda_points.py", dry=("--points", 2000, "--side", 32, "--repeats", 2)),
    ),
    ("tests", 120, tests),
    (
        "training",
        60,
        benchmark("training_step.py", ("--repeats", 10, "--distinct", 4), (*SMALL, "--repeats", 2)),
    ),
    (
        "modes",
        100,
        benchmark("training_modes.py", dry=(*SMALL, "--steps", 1, "--rounds", 1, "--distinct", 1)),
    ),
    ("evaluation", 150, benchmark("devices.py", dry=("--images", 4, "--updates", 3))),
    ("sanitizer", 120, sanitizer),
)


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


def chosen_steps(names: Sequence[str] | None) -> Iterator[tuple[str, float, Action]]:
    """The steps of these names, all for None; the machine is always described."""
    for name, limit, action in STEPS:
        if names is None or name in (*names, "machine"):
            yield name, limit, action


def unpack(run: Run) -> None:
    """Unpacks the wheels in the folder given with --wheels, so that they can be imported."""
    for wheel in sorted(run.wheels.glob("*.whl")) if run.wheels else ():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(run.site)


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
