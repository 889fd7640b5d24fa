"""Small nets, solvers and data for the solver's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.solver import Solver

NET = """
name: "small"
layer {{ name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param {{ source: "{list}" root_folder: "{root}" batch_size: 2 shuffle: true label_type: PIXEL }}
  transform_param {{ mirror: true crop_size: 9 mean_value: 100 mean_value: 110 mean_value: 120 }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param {{ lr_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1
    weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "drop1" type: "Dropout" bottom: "conv1" top: "conv1" dropout_param {{ dropout_ratio: 0.5 }} }}
layer {{ name: "frozen" type: "Convolution" bottom: "conv1" top: "frozen" param {{ lr_mult: 0 }}
  convolution_param {{ num_output: 4 kernel_size: 1 bias_term: false weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "fc8" type: "Convolution" bottom: "frozen" top: "fc8"
  convolution_param {{ num_output: 3 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss"
  loss_param {{ ignore_label: 255 }} }}
"""

SOLVER = """
train_net: "net.prototxt"
base_lr: 0.01 lr_policy: "poly" power: 0.9 momentum: 0.9 weight_decay: 0.0005
max_iter: 10 display: 2 average_loss: 3 snapshot: 5 snapshot_prefix: "runs/small" random_seed: 3
solver_mode: CPU
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photos, labels, a list, net.prototxt, solver.prototxt."""
    random = np.random.default_rng(1)
    lines = []
    for index in range(7):
        Image.fromarray(random.integers(0, 256, (11, 12, 3), np.uint8)).save(tmp_path / f"{index}.png")
        labels = random.choice(np.array([0, 1, 2, 255], np.uint8), (11, 12))
        Image.fromarray(labels).save(tmp_path / f"{index}_label.png")
        lines.append(f"/{index}.png /{index}_label.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    (tmp_path / "net.prototxt").write_text(NET.format(list=tmp_path / "list.txt", root=tmp_path))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def at_iteration(monkeypatch: pytest.MonkeyPatch) -> dict[int, Callable[[], None]]:
    """Iteration -> what to do right after it was finished, before a snapshot may follow."""
    actions: dict[int, Callable[[], None]] = {}
    original = Solver.update

    def update(self: Solver, fed):
        figures = original(self, fed)
        actions.get(self.iter, lambda: None)()
        return figures

    monkeypatch.setattr(Solver, "update", update)
    return actions
