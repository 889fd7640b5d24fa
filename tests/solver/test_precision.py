"""The solver's `precision`: which layers compute in 16 bits, and that a run goes on exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.net.walk import Watch
from rlossctl.solver.machine.precision import DOUBLED_AFTER, FIRST, LossScale

TERM = """
layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }
layer { name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "prob" top: "crf" loss_weight: 1e-6
  densecrf_loss_param { bi_xy_std: 5 bi_rgb_std: 15 } }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
"""


class Types(Watch):
    """Notes the types of every layer's bottoms and tops."""

    def __init__(self) -> None:
        self.tops_of: dict[str, set[torch.dtype]] = {}

    def tops(self, layer, values) -> None:
        self.tops_of[layer.name] = {value.dtype for value in values.values()}


def solver(precision: str, extra: str = "", **options: object) -> rlossctl.Solver:
    text = Path("solver.prototxt").read_text() + f"{precision}\n"
    Path("chosen.prototxt").write_text(text)
    net = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(net + extra)
    return rlossctl.load_solver("chosen.prototxt", device="cpu", **options)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("name", "low"), [("BF16", torch.bfloat16), ("FP16", torch.float16)])
def test_which_layers_compute_in_16_bits(name, low) -> None:
    run = solver(f"precision: {name}", TERM)
    seen = Types()
    result = run.net.run(watch=seen)
    assert {layer for layer, types in seen.tops_of.items() if types == {low}} == {
        "conv1",
        "relu1",
        "drop1",
        "frozen",
        "fc8",
        "pool",
    }
    assert {value.dtype for value, _ in result.losses.values()} == {torch.float32}
    result.loss.backward()
    assert {p.tensor.grad.dtype for p in run.net.learnable if p.lr_mult} == {torch.float32}


@pytest.mark.usefixtures("folder")
def test_losses_are_near_those_of_float32() -> None:
    exact, near = (solver(text, TERM if not text else "").update() for text in ("", "precision: BF16"))
    for name, term in exact.terms.items():
        assert near.terms[name].value == pytest.approx(term.value, rel=2e-2)
        assert near.terms[name].value != term.value


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["BF16", "FP16"])
def test_a_run_goes_on_exactly(name) -> None:
    whole = solver(f"precision: {name}")
    whole.step(5)
    state = whole.snapshot()
    losses = [whole.update().loss for _ in range(3)]
    again = solver(f"precision: {name}")
    again.restore(state)
    assert [again.update().loss for _ in range(3)] == losses
    for one, two in zip(whole.net.learnable, again.net.learnable, strict=True):
        assert one.tensor.equal(two.tensor)


@pytest.mark.usefixtures("folder")
def test_an_update_beyond_float16_is_left_out() -> None:
    run = solver("precision: FP16")
    run._scale.value = 1e30  # the loss times this is infinite in float16
    before = [entry.tensor.clone() for entry in run.net.learnable]
    run.update()
    assert run.iter == 1 and run._scale.value == 5e29
    assert all(entry.tensor.equal(old) for entry, old in zip(run.net.learnable, before, strict=True))
    state = run.snapshot()
    again = solver("precision: FP16")
    again.restore(state)
    assert again._scale.value == 5e29


def test_the_scale_grows_after_many_updates() -> None:
    scale, blob = LossScale(), torch.zeros(2, requires_grad=True)
    for _ in range(DOUBLED_AFTER):
        blob.grad = torch.full((2,), FIRST)
        assert scale.undo([blob]) and blob.grad.tolist() == [1, 1]
    assert scale.value == 2 * FIRST
