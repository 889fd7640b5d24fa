"""Which nets a solver file means, where files are looked for, seeds and devices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.errors import PrototxtError, UsageError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.machine.device import pick_device
from rlossctl.solver.reading.files import SolverFile

NET = """
name: "%s" input: "x" input_shape { dim: 1 dim: 2 }
layer { name: "all" type: "InnerProduct" bottom: "x" top: "all" inner_product_param { num_output: 1 } }
layer { name: "deep" type: "ReLU" bottom: "all" top: "all" include { stage: "deep" } }
layer { name: "train" type: "ReLU" bottom: "all" top: "all" include { phase: TRAIN } }
"""
RATE = "base_lr: 1 lr_policy: 'fixed' "


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes nets a, b and the solver in folder `job`; the working directory is elsewhere."""
    (tmp_path / "job").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for name in "ab":
        (tmp_path / "job" / f"{name}.prototxt").write_text(NET % name)
    monkeypatch.chdir(tmp_path / "elsewhere")

    def solver(text: str) -> Path:
        file = tmp_path / "job" / "solver.prototxt"
        file.write_text(RATE + text)
        return file

    return solver


def names(net) -> list[str]:
    return [layer.name for layer in net.layers]


@pytest.mark.parametrize("field", ["net", "train_net"])
def test_a_net_beside_the_solver(write, field: str) -> None:
    assert rlossctl.load_solver(write(f"{field}: 'a.prototxt'")).net.name == "a"


def test_the_working_directory_comes_first(write) -> None:
    Path("a.prototxt").write_text(NET % "nearer")
    assert rlossctl.load_solver(write("net: 'a.prototxt'")).net.name == "nearer"


def test_both_places_are_named_if_the_net_is_missing(write) -> None:
    with pytest.raises(PrototxtError, match=r"elsewhere/c\.prototxt and .*job/c\.prototxt"):
        rlossctl.load_solver(write("net: 'c.prototxt'"))


def test_another_net_can_be_given(write) -> None:
    solver = write("net: 'missing.prototxt'")
    assert rlossctl.load_solver(solver, solver.parent / "b.prototxt").net.name == "b"


def test_placeholders_fill_solver_and_net(write) -> None:
    solver = write("net: '${WHICH}.prototxt'")
    (solver.parent / "b.prototxt").write_text(NET % "${WHICH}${KIND}")
    assert rlossctl.load_solver(solver, WHICH="b", KIND=2).net.name == "b2"


def test_inline_nets(write) -> None:
    inline = NET % "inline"
    solver = rlossctl.load_solver(write(f"net_param {{ {inline} }} test_iter: 1 test_interval: 5"))
    assert solver.net.name == "inline"
    assert names(solver.net) == ["all", "train"]
    assert names(solver.test_nets[0]) == ["all"]


def test_states_are_merged(write) -> None:
    text = "net: 'a.prototxt' train_state { stage: 'deep' } test_iter: 1 test_iter: 1 test_interval: 5 "
    solver = rlossctl.load_solver(write(text + "test_state { stage: 'deep' } test_state { }"))
    assert names(solver.net) == ["all", "deep", "train"]
    assert [names(net) for net in solver.test_nets] == [["all", "deep"], ["all"]]


def test_test_nets_in_caffes_order(write) -> None:
    text = f"net: 'a.prototxt' test_net: 'b.prototxt' test_net_param {{ {NET % 'inline'} }} test_interval: 5 "
    solver = rlossctl.load_solver(write(text + "test_iter: 1 test_iter: 1 test_iter: 1 test_iter: 1"))
    assert [net.name for net in solver.test_nets] == ["inline", "b", "a", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "exactly one training net"),
        ("net: 'a.prototxt' train_net: 'b.prototxt'", r"found: +net, train_net"),
        ("train_net: 'a.prototxt' test_iter: 1 test_interval: 1", "test_iter does not fit"),
        ("net: 'a.prototxt' test_net: 'b.prototxt' test_interval: 1", "test_iter does not fit"),
        ("net: 'a.prototxt' test_iter: 1", "test_interval does not fit"),
        (
            "net: 'a.prototxt' test_iter: 1 test_interval: 1 test_state {} test_state {}",
            "test_state does not",
        ),
        ("net: 'a.prototxt' average_loss: 0", "average_loss is out of range"),
        ("net: 'a.prototxt' type: 'Adagrad'", r"solver\.prototxt: unknown solver type"),
        ("net: 'a.prototxt' lr_policy: 'none'", r"solver\.prototxt: unknown learning rate policy"),
    ],
)
def test_refused(write, text: str, words: str) -> None:
    file = write(text)
    if "lr_policy" in text:
        file.write_text(text)
    with pytest.raises(PrototxtError, match=words):
        rlossctl.load_solver(file)


def test_the_seed_repeats_a_net(write) -> None:
    solver = write("net: 'a.prototxt'")
    text = (solver.parent / "a.prototxt").read_text()
    filler = "num_output: 1 weight_filler { type: 'gaussian' }"
    (solver.parent / "a.prototxt").write_text(text.replace("num_output: 1", filler))
    first, second, third = (rlossctl.load_solver(solver, seed=seed) for seed in (7, 7, 8))
    values = [solver.net.params["all"][0] for solver in (first, second, third)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    fourth = rlossctl.load_solver(solver)
    assert torch.equal(
        rlossctl.load_solver(solver, seed=fourth.progress.seed).net.params["all"][0],
        fourth.net.params["all"][0],
    )


def test_snapshot_prefix(tmp_path: Path) -> None:
    param = SolverParameter()
    assert SolverFile(param, tmp_path / "poly.prototxt").snapshot_prefix == str(tmp_path / "poly")
    param.snapshot_prefix = str(tmp_path)
    assert SolverFile(param, Path("poly.prototxt")).snapshot_prefix == str(tmp_path / "poly")
    param.snapshot_prefix = "model/train"
    assert SolverFile(param, Path("poly.prototxt")).snapshot_prefix == "model/train"


def test_device() -> None:
    param = SolverParameter()
    param.solver_mode = 0
    assert pick_device("auto", param).type == "cpu"
    assert pick_device("cpu").type == "cpu"
    for wrong in ("tpu", "cuda:999", "meta"):
        with pytest.raises(UsageError):
            pick_device(wrong)
