"""loss_schedule: when a loss counts, what is skipped, weights chosen by pull, and how a resume keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.net import load_net
from rlossctl.net.plan import needless
from rlossctl.solver.load import load_solver
from rlossctl.solver.telling.log import Log

POTTS = """
layer {{ name: "soft" type: "Softmax" bottom: "fc8" top: "soft" }}
layer {{ name: "potts" type: "PottsLoss" bottom: "data" bottom: "soft" top: "potts" loss_weight: {weight}
  propagate_down: false propagate_down: true loss_schedule {{ {schedule} }} }}
"""


@pytest.fixture
def solver(folder: Path):
    """solver(schedule, weight, lines): the small net with a Potts loss; `lines` takes its log."""

    def make(schedule: str, weight: float = 0.5, lines: list[str] | None = None):
        text = (folder / "net.prototxt").read_text().partition('layer { name: "soft"')[0]
        text = text.partition('\nlayer { name: "soft"')[0] + POTTS.format(weight=weight, schedule=schedule)
        (folder / "net.prototxt").write_text(text)
        log = None if lines is None else Log([lines.append])
        return load_solver(folder / "solver.prototxt", device="cpu", log=log)

    return make


def weights(made, count: int) -> list[float | None]:
    """The Potts loss's weight in each update, None where it did not run."""
    found = []
    for _ in range(count):
        term = made.update().terms.get("potts")
        found.append(None if term is None else term.weight)
    return found


def test_start_and_ramp(solver):
    found = weights(solver("start_iter: 2 ramp_iter: 4"), 8)
    assert found[:2] == [None, None] and found[2:] == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    assert weights(solver("start_iter: 1 start_ratio: 0.3"), 6) == [None] * 4 + [0.5, 0.5]  # of 10 updates
    assert weights(solver(""), 2) == [0.5, 0.5]


def test_a_temperature_falls_with_the_updates_and_a_resume_continues_it(folder):
    """From 2 to 1 by half of the 10 updates; the first pass has the 2."""
    text = (folder / "net.prototxt").read_text()
    crf = """
layer { name: "crf" type: "DualDecompositionCRF" bottom: "fc8" bottom: "fc8" top: "crf"
  dual_decomposition_crf_param { iterations: 1 final_temperature: 1 temperature_ratio: 0.5 } }
layer { name: "unused" type: "Silence" bottom: "crf" }
"""
    (folder / "net.prototxt").write_text(text + crf)

    def warmth(made) -> float:
        return next(layer for layer in made.net.layers if layer.name == "crf").module.temperature

    first, found = load_solver(folder / "solver.prototxt", device="cpu"), []
    for _ in range(7):
        first.step(1)
        found.append(warmth(first))
    assert found == pytest.approx([2, 1.8, 1.6, 1.4, 1.2, 1, 1])
    early = load_solver(folder / "solver.prototxt", device="cpu")
    early.step(3)
    state = early.snapshot()
    again = load_solver(folder / "solver.prototxt", device="cpu")
    again.restore(state)
    again.step(1)
    assert warmth(again) == pytest.approx(1.4)


def test_until_it_counts_training_is_as_without_it(solver, folder):
    def trained(path: Path, count: int) -> list[torch.Tensor]:
        one = load_solver(path, device="cpu")
        one.step(count)
        return [blob.detach() for blob in one.net.parameters()]

    solver("start_iter: 3")
    for count, alike in ((3, True), (4, False)):
        both = trained(folder / "solver.prototxt", count), trained(without(folder), count)
        assert all(map(torch.equal, *both)) == alike


def without(folder: Path) -> Path:
    """The solver of the net without the Potts loss."""
    text = (folder / "net.prototxt").read_text().partition('layer { name: "soft"')[0]
    (folder / "plain.prototxt").write_text(text)
    solver = (folder / "solver.prototxt").read_text().replace("net.prototxt", "plain.prototxt")
    (folder / "plain_solver.prototxt").write_text(solver)
    return folder / "plain_solver.prototxt"


def test_only_what_nothing_else_reads_is_skipped(solver):
    layers = solver("").net.layers
    names = [layer.name for layer in layers]
    gone = needless(layers, {names.index("potts")})
    assert [names[number] for number in sorted(gone)] == ["soft", "potts"]
    gone = needless(layers, {names.index("loss")})
    assert [names[number] for number in sorted(gone)] == ["loss"]
    both = needless(layers, {names.index("loss"), names.index("potts")})
    assert {names[number] for number in both} == set(names) - {"data"}


def test_a_test_takes_the_full_weight(solver, folder):
    solver("start_iter: 5")
    net = load_net(folder / "net.prototxt")
    result = net.run(None)
    assert result.losses["potts"][1] == 0.5


def test_the_log_shows_the_weight_in_force(solver):
    lines: list[str] = []
    made = solver("start_iter: 1 ramp_iter: 2", lines=lines)
    made.step(3)
    shown = [line for line in lines if "potts = " in line]
    assert len(shown) == 1 and "(* 0.5 = " in shown[0]  # updates 0 and 2 are displayed


def test_pull_chooses_the_weight_by_measurement(solver):
    lines: list[str] = []
    made = solver("pull: 0.3 pull_iter: 2 start_iter: 1", lines=lines)
    begin = {name: blob.detach().clone() for name, blob in made.net.named_parameters()}
    assert begin
    found = weights(made, 4)
    assert found[0] is None and found[1:3] == [0, 0] and found[3] > 0
    told = [line for line in lines if "loss_weight: " in line]
    assert len(told) == 1 and f"loss_weight: {found[3]:g} " in told[0]
    state = made._schedules.state()["potts"]
    assert state["weight"] == found[3] == pytest.approx(0.3 * state["others"] / state["own"])
    assert state["passes"] == 2 and state["since"] == 3


def test_the_measured_pulls_are_those_of_the_gradients(solver):
    """Of a net whose scores are given: one pass, by hand."""
    made = solver("pull: 0.5 pull_iter: 1")
    torch.manual_seed(1)
    made.net.train()
    kept = {}
    made.net.layer("fc8").module.register_forward_hook(lambda module, given, top: kept.update(fc8=top[0]))
    original = made._schedules.measure

    def measure(iteration, losses):
        for name in ("loss", "potts"):
            (slope,) = torch.autograd.grad(losses[name][0], kept["fc8"], retain_graph=True)
            kept[name] = slope.abs().sum().item()
        original(iteration, losses)

    made._schedules.measure = measure
    made.update()
    assert made._schedules.state()["potts"]["weight"] == pytest.approx(
        0.5 * kept["loss"] / kept["potts"], rel=1e-5
    )


def test_resume_is_exact_within_and_after_the_window(solver, folder):
    whole = solver("pull: 0.3 pull_iter: 4 ramp_iter: 3")
    whole.step(10)  # snapshots after 5 and 10
    whole.snapshot()
    for cut in (2, 5, 7):
        first = solver("pull: 0.3 pull_iter: 4 ramp_iter: 3")
        first.step(cut)
        state = first.snapshot()
        second = solver("pull: 0.3 pull_iter: 4 ramp_iter: 3")
        second.restore(state)
        second.step(10 - cut)
        assert second._schedules.state() == whole._schedules.state()
        for one, other in zip(second.net.parameters(), whole.net.parameters(), strict=True):
            assert torch.equal(one, other)


def test_resume_files_without_measured_weights_are_as_before(solver):
    made = solver("start_iter: 1")
    made.step(1)
    text = Path(str(made.snapshot()).replace(".solverstate", ".resume.json")).read_text()
    assert "schedules" not in json.loads(text)


def test_a_loss_without_a_gradient_is_measured_again(solver):
    lines: list[str] = []
    made = solver("pull: 0.3 pull_iter: 1", lines=lines)
    for blob in made.net.params["fc8"]:
        blob.data.zero_()  # all classes alike everywhere: the Potts loss is 0, and so is its slope
    assert weights(made, 2) == [0, 0]
    assert any("has no gradient at fc8" in line and line.startswith("W") for line in lines)


@pytest.mark.parametrize(
    ("schedule", "weight", "words"),
    [
        ("start_iter: 1", 0, "has a loss_schedule, but no weight"),
        ("start_ratio: 1", 1, "start_ratio is out of range"),
        ("pull: 0.1 pull_iter: 0", 1, "cannot be measured"),
        ("pull: -1", 1, "cannot be measured"),
    ],
)
def test_what_is_refused(solver, schedule, weight, words):
    with pytest.raises(NetError, match=f"'potts' \\(PottsLoss\\): {words}"):
        solver(schedule, weight)


def test_pull_needs_another_loss(solver, folder):
    solver("")
    text = (folder / "net.prototxt").read_text().replace("loss_schedule {  }", "loss_schedule { pull: 0.3 }")
    start, _, end = text.partition('layer { name: "loss"')
    (folder / "net.prototxt").write_text(start + end[end.index("\nlayer") :])
    with pytest.raises(NetError, match="has nothing to pull against"):
        load_solver(folder / "solver.prototxt", device="cpu")
