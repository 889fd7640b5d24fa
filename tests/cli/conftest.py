"""Running the command as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

NET = """name: "tiny"
input: "data" input_shape { dim: 1 dim: 3 dim: 20 dim: 24 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "score" type: "Convolution" bottom: "conv1" top: "score"
  convolution_param { num_output: ${LABELS} kernel_size: 1 weight_filler { type: "xavier" } } }
"""
SOLVER = (
    'net: "net.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 50 max_iter: 100 type: "SGD"\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """net.prototxt, solver.prototxt and w.caffemodel for LABELS=3."""
    from rlossctl.net import load_net
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    net = load_net(tmp_path / "net.prototxt", LABELS=3)
    write_caffemodel(tmp_path / "w.caffemodel", net.name, layer_records(net))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., subprocess.CompletedProcess]:
    """run("inspect", "net.prototxt") in `folder`; stdout and stderr are text."""

    def call(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "rlossctl", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return call


@pytest.fixture
def invoke(folder: Path, invoke: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """As `run`, in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)
    return invoke
