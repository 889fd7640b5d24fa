"""caffe.Net and solvers on a GPU, against the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

NET = """layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 4
  kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
force_backward: true"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 9 random_seed: 1'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER)


def test_a_net_moves_and_gives_the_same(caffe) -> None:
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    found = []
    for switch in (caffe.set_mode_cpu, caffe.set_mode_gpu, caffe.set_mode_cpu):
        switch()
        net.blobs["x"].data[...] = x
        net.blobs["label"].data[...] = [0, 1, 2, 0]
        net.params["ip"][1].data[...] = 0.25
        net.clear_param_diffs()
        net.forward()
        net.backward()
        found.append(
            [net.blobs["loss"].data.copy(), net.blobs["x"].diff.copy(), net.params["conv"][0].diff.copy()]
        )
        assert net.blobs["conv"].values.device.type == ("cuda" if switch is caffe.set_mode_gpu else "cpu")
    for values in zip(*found, strict=True):
        assert np.allclose(values[0], values[1], rtol=1e-3, atol=1e-5) and np.array_equal(
            values[0], values[2]
        )


def test_a_solver_gives_the_same(caffe) -> None:
    losses = []
    for switch in (caffe.set_mode_cpu, caffe.set_mode_gpu):
        switch()
        solver = caffe.SGDSolver("solver.prototxt")
        start = np.linspace(-1, 1, solver.net.params["ip"][0].count)
        solver.net.params["ip"][0].data.flat = start
        solver.net.params["conv"][0].data[...] = 0.1
        solver.net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal((4, 3, 8, 8))
        solver.net.blobs["label"].data[...] = [0, 1, 2, 0]
        solver.step(3)
        caffe.set_mode_cpu()
        solver.step(2)
        losses.append((float(solver.net.blobs["loss"].data), solver.net.params["conv"][0].data.copy()))
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-3)
    assert np.allclose(losses[0][1], losses[1][1], rtol=1e-3, atol=1e-5)
