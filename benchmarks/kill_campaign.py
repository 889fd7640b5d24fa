"""Kills `rlossctl train` at random moments with SIGKILL and resumes it, again and again.

    python benchmarks/kill_campaign.py --kills 200 --seed 1

Trains a small net (shuffled photos, mirrored and cropped at random, dropout; a snapshot after every
iteration) once without interruption, then in runs that are killed at moments drawn evenly from the time of
that run, and that go on with `--resume auto` until they are done.

After every kill each file that has its name must be whole, and each solver state must stand beside its
weights and its resume file. A run that was killed must end as the straight one: the same bytes of weights and
history, the same random state. Prints what was done and raises an error at the first difference. Needs a
system that can fork.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import rlossctl.solver.training  # noqa: F401
from rlossctl.cli import cli
from rlossctl.net import registry
from rlossctl.weights import load_caffemodel, load_solverstate

NET = """
layer { name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param { source: "list.txt" root_folder: "." batch_size: 2 shuffle: true label_type: PIXEL }
  transform_param { mirror: true crop_size: 9 mean_value: 100 mean_value: 110 mean_value: 120 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "drop1" type: "Dropout" bottom: "conv1" top: "drop1" }
layer { name: "fc8" type: "Convolution" bottom: "drop1" top: "fc8"
  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 } }
"""
SOLVER = """
net: "net.prototxt" type: "Adam" base_lr: 0.01 lr_policy: "poly" power: 0.9 momentum: 0.9 momentum2: 0.999
max_iter: ITERATIONS snapshot: 1 display: 10 average_loss: 3 snapshot_prefix: "small" random_seed: 3
solver_mode: CPU
"""


@dataclass
class Outcome:
    """The counts of a campaign: kills, finished runs, snapshots checked, `.part` files found."""

    kills: int = 0
    runs: int = 0
    snapshots: int = 0
    unfinished: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=60, help="iterations per run")
    parser.add_argument("--seed", type=int, default=0, help="seed for the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = campaign(Path(folder), arguments.kills, arguments.iterations, arguments.seed)
    print(
        f"{outcome.kills} kills in {outcome.runs} runs: {outcome.snapshots} snapshots whole, "
        f"{outcome.unfinished} unfinished files met, every run ended as the straight one"
    )


def campaign(folder: Path, kills: int, iterations: int, seed: int) -> Outcome:
    """Kills runs until `kills` were killed and every run has ended like the uninterrupted one.

    Raises:
        AssertionError: a file is not whole, a snapshot is incomplete, or a run ended elsewhere.
    """
    torch.set_num_threads(1)
    registry.kinds()  # the forked processes find everything imported
    write_data(folder, iterations)
    outcome, moments = Outcome(), random.Random(seed)
    start = time.monotonic()
    assert wait(begin(folder, "straight")) == 0, (folder / "output.txt").read_text()
    seconds = time.monotonic() - start
    expected = final(folder / "straight", iterations)
    while outcome.kills < kills:
        name = f"run{outcome.runs}"
        while not is_done(folder / name, iterations):
            child = begin(folder, name)
            if outcome.kills < kills:
                time.sleep(moments.uniform(0, seconds))
                os.kill(child, signal.SIGKILL)
            status = wait(child)
            outcome.kills += os.WIFSIGNALED(status)
            assert status == 0 or os.WIFSIGNALED(status), (folder / "output.txt").read_text()
            check(folder / name, outcome)
        outcome.runs += 1
        assert final(folder / name, iterations) == expected, f"{name} ended elsewhere than the straight run"
        assert not list((folder / name).glob(".*.part")), "the run that ended left what the killed ones began"
    return outcome


def write_data(folder: Path, iterations: int) -> None:
    """Writes photos, labels, their list, a net and a solver."""
    draw = np.random.default_rng(1)
    lines = []
    for index in range(7):
        Image.fromarray(draw.integers(0, 256, (11, 12, 3), np.uint8)).save(folder / f"{index}.png")
        labels = draw.choice(np.array([0, 1, 2, 255], np.uint8), (11, 12))
        Image.fromarray(labels).save(folder / f"{index}_label.png")
        lines.append(f"/{index}.png /{index}_label.png\n")
    (folder / "list.txt").write_text("".join(lines))
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER.replace("ITERATIONS", str(iterations)))


def begin(folder: Path, name: str) -> int:
    """Forks a process that trains in `name`, or resumes there; returns its id. It prints to output.txt."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.chdir(folder)
        words = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(words, 1)
        os.dup2(words, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        command = ["train", "--prototxt", "solver.prototxt", "--out", name, "--resume", "auto"]
        cli.main([*command, "--device", "cpu"], standalone_mode=False)
        status = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)  # nothing of the parent's is closed or run here


def wait(child: int) -> int:
    """Waits for the child to end; returns its status."""
    return os.waitpid(child, 0)[1]


def check(folder: Path, outcome: Outcome) -> None:
    """Checks that every named file is whole, and every solver state has its weights and its resume file."""
    for model in folder.glob("*.caffemodel"):
        for layer in load_caffemodel(model).layers:
            assert all(np.isfinite(blob.array()).all() for blob in layer.blobs if blob), model
    for resume in folder.glob("*.resume.json"):
        json.loads(resume.read_text())
    for state in folder.glob("*.solverstate"):
        number = load_solverstate(state).iter
        assert state.name == f"small_iter_{number}.solverstate"
        assert state.with_suffix(".caffemodel").is_file() and state.with_suffix(".resume.json").is_file()
        outcome.snapshots += 1
    outcome.unfinished += len(list(folder.glob(".*.part")))


def is_done(folder: Path, iterations: int) -> bool:
    return (folder / f"small_iter_{iterations}.solverstate").is_file()


def final(folder: Path, iterations: int) -> Sequence[object]:
    """The last weights and history, and the state of everything drawn at random."""
    stem = f"small_iter_{iterations}"
    state = load_solverstate(folder / f"{stem}.solverstate")
    resume = json.loads((folder / f"{stem}.resume.json").read_text())
    model = (folder / f"{stem}.caffemodel").read_bytes()
    kept = {key: resume[key] for key in ("iter", "torch_rng", "sources", "smoothed_loss")}
    return [model, [array.tobytes() for array in state.history], kept]


if __name__ == "__main__":
    main()
