"""What only a GPU can show of a training: that nothing waits, and that graphs replay what was computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.layers.interp import Resized, resized
from rlossctl.solver.machine.feed import DeviceFeed
from rlossctl.solver.machine.speed import Speed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("folder"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TERM = """
layer { name: "accuracy" type: "SegAccuracy" bottom: "fc8" bottom: "label" top: "accuracy"
  seg_accuracy_param { ignore_label: 255 } }
layer { name: "small" type: "Pooling" bottom: "fc8" top: "small" pooling_param { kernel_size: 3 stride: 3 } }
layer { name: "large" type: "Interp" bottom: "small" top: "large" interp_param { height: 9 width: 9 } }
layer { name: "prob" type: "Softmax" bottom: "large" top: "prob" }
layer { name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "prob" top: "crf" loss_weight: 1e-6
  densecrf_loss_param { bi_xy_std: 5 bi_rgb_std: 15 } }
"""


def make(
    extra: str = "", drop: bool = True, rate: str = "base_lr: 0.01", **options: object
) -> rlossctl.Solver:
    net = Path("net.prototxt").read_text()
    if "SegAccuracy" not in net:
        net += TERM
    Path("net.prototxt").write_text(net if drop else net.replace('type: "Dropout"', 'type: "ReLU"'))
    text = Path("solver.prototxt").read_text().replace("display: 2", "display: 0")
    Path("gpu.prototxt").write_text(
        text.replace("solver_mode: CPU", "").replace("base_lr: 0.01", rate) + extra
    )
    return rlossctl.load_solver("gpu.prototxt", device="cuda", **options)


@pytest.mark.parametrize("precision", ["FP32", "BF16"])
def test_an_update_waits_for_nothing_but_its_loss(no_waiting, precision) -> None:
    run = make(f"precision: {precision}")
    blobs, _ = run.net.draw()
    for _ in range(4):
        run.update(blobs)
    with no_waiting():
        run.update(blobs)


@pytest.mark.parametrize("precision", ["FP32", "BF16"])
def test_graphs_replay_what_passes_compute(precision) -> None:
    losses = []
    for graphs in (False, True):
        run = make(f"precision: {precision}", drop=False, speed=Speed(cuda_graphs=graphs))
        losses.append([run.update().loss for _ in range(8)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if precision == "FP32" else 3e-2)


def test_dropout_in_graphs_draws_anew_and_a_run_goes_on() -> None:
    run = make(rate="base_lr: 0", speed=Speed(cuda_graphs=True))
    blobs, _ = run.net.draw()
    assert len({run.update(blobs).loss for _ in range(8)}) == 8
    state = torch.cuda.get_rng_state()
    more = [run.update(blobs).loss for _ in range(3)]
    torch.cuda.set_rng_state(state)
    assert [run.update(blobs).loss for _ in range(3)] == more


def test_batches_come_ahead() -> None:
    run = make()
    run.step(3)
    assert isinstance(run.net.sources["data"], DeviceFeed)
    assert run.net.sources["data"].state()["position"] == 6
    run.net.sources["data"].close()


def test_the_gradient_of_resizing() -> None:
    x = torch.randn(2, 21, 41, 41, device="cuda", requires_grad=True)
    upstream = torch.randn(2, 21, 321, 321, device="cuda")
    (found,) = torch.autograd.grad(Resized.apply(x, (321, 321), True), x, upstream)
    (expected,) = torch.autograd.grad(resized(x, (321, 321), True), x, upstream)
    assert (found - expected).norm() <= 1e-5 * expected.norm()
