"""What tests and 16 bits cost: configs/camvid trained by `rlossctl train` with and without them.

    python benchmarks/training_costs.py --data data/camvid
    python benchmarks/training_costs.py --data data/camvid --max-iter 1200 --seeds 3   # for the mIoU
    python benchmarks/training_costs.py --data data/camvid --max-iter 300 --test-interval 300 --seeds 2 -- \
        --weights whole/train_best.caffemodel --lr 0.0005   # from weights that are trained

The modes: float32 without tests, float32 with a test every --test-interval iterations, and precision BF16
with these tests. Each run is a process, and each seed a round of all modes, so that other work on the machine
hits them alike. Prints, beside the first mode: the median time of a step (without what lies between steps),
the time of the whole process by iteration, start and tests included, the most memory of the process, and the
mIoU of the last test, each as the median over the seeds. A difference in mIoU is worth no more than the
spread over the seeds, which is printed, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "camvid"


class Mode(NamedTuple):
    """One way to train."""

    name: str
    tests: bool
    precision: str = "FP32"


class Cost(NamedTuple):
    """What one run took and gave.

    Attributes:
        step: median seconds of a step.
        iteration: seconds of the process, by iteration.
        memory: the most bytes of it.
        miou: of the last test, in percent; NaN without one.
    """

    step: float
    iteration: float
    memory: float
    miou: float


MODES = (
    Mode("float32, no tests", tests=False),
    Mode("float32, tests", tests=True),
    Mode("bf16, tests", tests=True, precision="BF16"),
)


def main() -> None:
    arguments = parse()
    costs: dict[str, list[Cost]] = {mode.name: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, arguments.seeds + 1):
            for mode in MODES:
                cost = trained(mode, seed, Path(folder) / f"{seed}-{mode.name}", arguments)
                costs[mode.name].append(cost)
                print(
                    f"  seed {seed}, {mode.name}: {cost.step:.3f} s a step, mIoU {cost.miou:.2f}", flush=True
                )
    report(costs, arguments)


def trained(mode: Mode, seed: int, out: Path, arguments: argparse.Namespace) -> Cost:
    """Runs `rlossctl train` in a process of its own."""
    out.mkdir()
    text = (CONFIGS / "solver.prototxt").read_text(encoding="utf-8")
    text = text.replace("test.prototxt", str(CONFIGS / "test.prototxt"))
    solver = out / "mode.prototxt"
    solver.write_text(f"{text}\nprecision: {mode.precision}\n", encoding="utf-8")
    lists = {"DATA_ROOT": arguments.data, "TRAIN_LIST": arguments.data / "train.txt"}
    lists["TEST_LIST"] = arguments.data / "val.txt"
    command = [sys.executable, "-m", "rlossctl", "train", "--prototxt", str(CONFIGS / "train.prototxt")]
    command += ["--solver", str(solver), "--out", str(out), "--device", arguments.device, "--seed", str(seed)]
    command += ["--crop", str(arguments.crop), "--batch-size", str(arguments.batch), "--workers", "1"]
    command += ["--max-iter", str(arguments.max_iter), "--snapshot", "0"]
    command += ["--test-interval", str(arguments.test_interval if mode.tests else 0)]
    command += [part for name, value in lists.items() for part in ("--set", f"{name}={value}")]
    command += arguments.options
    start = time.perf_counter()
    with (out / "stderr").open("wb") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{(out / 'stderr').read_text()[-2000:]}")
    took = time.perf_counter() - start
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [one["seconds"] for one in records if one["kind"] == "train"]
    tests = [100 * one["outputs"]["mIoU"][0] for one in records if one["kind"] == "test"]
    return Cost(
        statistics.median(steps),
        took / arguments.max_iter,
        1024 * usage.ru_maxrss,
        tests[-1] if tests else float("nan"),
    )


def report(costs: dict[str, list[Cost]], arguments: argparse.Namespace) -> None:
    """Medians over the seeds, and ratios to the first mode."""
    medians = {name: middle(found) for name, found in costs.items()}
    base = medians[MODES[0].name]
    print(
        f"configs/camvid, batch {arguments.batch} of {arguments.crop}x{arguments.crop}, {arguments.max_iter} "
        f"iterations, a test every {arguments.test_interval}, {arguments.device}, seeds: {arguments.seeds}"
    )
    ratio = f"{'ratio':>7}"
    print(f"{'mode':<20}{'step, s':>9}{ratio}{'iteration, s':>14}{ratio}{'MiB':>7}{ratio}{'mIoU':>8}")
    figures: dict[str, object] = {}
    for name, cost in medians.items():
        ratios = cost.step / base.step, cost.iteration / base.iteration, cost.memory / base.memory
        print(
            f"{name:<20}{cost.step:9.3f}{ratios[0]:7.2f}{cost.iteration:14.3f}{ratios[1]:7.2f}"
            f"{cost.memory / 2**20:7.0f}{ratios[2]:7.2f}{cost.miou:8.2f}"
        )
        figures[name] = dict(zip(("step", "iteration", "memory"), ratios, strict=True)) | {"mIoU": cost.miou}
    scores = [[cost.miou for cost in costs[mode.name]] for mode in MODES[1:]]
    differences = [bf16 - fp32 for fp32, bf16 in zip(*scores, strict=True)]
    print(
        f"mIoU of bf16 against float32: {statistics.median(differences):+.2f} ({min(differences):+.2f} .. "
        f"{max(differences):+.2f}); float32 over the seeds: {min(scores[0]):.2f} .. {max(scores[0]):.2f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train.txt and val.txt")
    parser.add_argument("--max-iter", type=int, default=60, help="iterations of a run (default 60)")
    parser.add_argument("--test-interval", type=int, default=20, help="between tests (default 20)")
    parser.add_argument("--batch", type=int, default=4, help="images per step (default 4)")
    parser.add_argument("--crop", type=int, default=129, help="side of the crops (default 129)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each mode (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("options", nargs="*", help="further options of rlossctl train, after --")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
