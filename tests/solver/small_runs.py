"""Trainings of the small net in the folder that conftest.py makes, and what they leave."""

from __future__ import annotations

import json
from pathlib import Path

from rlossctl.errors import RlossError
from rlossctl.net import DataOverrides
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import Trained
from rlossctl.solver.training import train as train_file


def train(prototxt: str = "solver.prototxt", **options) -> Trained:
    return train_file(
        SolverOrigin(prototxt).read(), DataOverrides(), TrainOptions(**{"device": "cpu", **options})
    )


def fail() -> None:
    raise RlossError("something went wrong")


def log(name: str = "a") -> str:
    return Path(name, "train.log").read_text()


def entries(file: str) -> dict:
    return json.loads(Path(file).read_text())


def same_files(one: str, other: str, iteration: int = 10) -> None:
    """Equal weights, and equal positions, generators and displayed loss."""
    first, second = (Path(name, f"small_iter_{iteration}.caffemodel").read_bytes() for name in (one, other))
    assert first == second
    left, right = (entries(f"{name}/small_iter_{iteration}.resume.json") for name in (one, other))
    for key in ("seed", "iter", "torch_rng", "sources", "smoothed_loss"):
        assert left[key] == right[key]
