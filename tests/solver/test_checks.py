"""Solvers that cannot be meant: refused with their line, or told."""

from __future__ import annotations

from pathlib import Path

import pytest

import rlossctl
from rlossctl.errors import PrototxtError, RlossError
from rlossctl.solver import Log
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import train

NET = """name: "n" input: "x" input_shape { dim: 1 dim: 2 }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "Reduction" bottom: "fc" top: "loss" loss_weight: 1 }
"""


@pytest.fixture
def warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Loads a solver of these fields, one a line, and returns its warnings."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)

    def load(*fields: str) -> list[str]:
        Path("solver.prototxt").write_text("\n".join(("train_net: 'net.prototxt'", *fields)) + "\n")
        lines: list[str] = []
        rlossctl.load_solver("solver.prototxt", device="cpu", log=Log([lines.append]))
        return [line.partition("] ")[2] for line in lines if line.startswith("W")]

    return load


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["type: 'Adam'", "momentum2: 2"], "solver.prototxt:3: momentum2 is out of range for type Adam"),
        (["type: 'Adam'", "momentum: 1"], "solver.prototxt:3: momentum is out of range for type Adam"),
        (["momentum: -0.1", "type: 'AdaDelta'"], "solver.prototxt:2: momentum is out of range"),
        (["type: 'RMSProp'", "rms_decay: 1.5"], "solver.prototxt:3: rms_decay is out of range"),
        (["type: 'AdaGrad'", "delta: -1"], "solver.prototxt:3: delta is out of range"),
        (["weight_decay: nan"], "solver.prototxt:2: weight_decay is not a finite number"),
        (["clip_gradients: inf"], "solver.prototxt:2: clip_gradients is not a finite number"),
        (["snapshot: -5"], "solver.prototxt:2: snapshot is out of range"),
        (["display: -5"], "solver.prototxt:2: display is out of range"),
        (["type: 'AdamW'", "momentum: 1"], "solver.prototxt:3: momentum is out of range for type AdamW"),
        (["warmup_iter: -1"], "solver.prototxt:2: warmup_iter is out of range"),
        (["lr_ahead: -1"], "solver.prototxt:2: lr_ahead is out of range"),
        (["warmup_iter: 5", "warmup_ratio: 2"], "solver.prototxt:3: warmup_ratio is out of range"),
        (["ema_decay: 1"], "solver.prototxt:2: ema_decay is out of range"),
        (["freeze: 'conv*'"], "solver.prototxt: freeze names no layer with weights"),
        (["freeze_batch_norm: true"], "solver.prototxt: freeze_batch_norm has nothing to freeze"),
    ],
)
def test_refused_with_the_line(warned, fields: list[str], message: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        warned(*fields, "base_lr: 0.1", "lr_policy: 'fixed'")
    assert message in str(caught.value)
    assert "solver prototxt" in caught.value.advice


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["onecycle { rise: 1 }"], "solver.prototxt:2: rise of onecycle is out of range"),
        (["onecycle { divide: 0.5 }"], "solver.prototxt:2: divide of onecycle is out of range"),
        (["onecycle { final_divide: inf }"], "solver.prototxt:2: final_divide of onecycle is out of range"),
        (["onecycle { momentum_high: 1 }"], "solver.prototxt:2: momentum_high of onecycle is out of range"),
        (["warmup_iter: 2"], "solver.prototxt:2: warmup_iter does not go with lr_policy onecycle"),
        (["type: 'RMSProp'"], "which type RMSProp does not have"),
    ],
)
def test_cycles_that_are_refused(warned, fields: list[str], message: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        warned(*fields, "base_lr: 0.1", "lr_policy: 'onecycle'", "max_iter: 20")
    assert message in str(caught.value)


def test_the_momentum_of_a_cycle_is_its_own(warned) -> None:
    fields = ("base_lr: 0.1", "lr_policy: 'onecycle'", "max_iter: 20")
    assert warned(*fields) == []
    assert "momentum does not count with lr_policy onecycle" in warned(*fields, "momentum: 0.9")[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (["momentum: 2"], "solver.prototxt:4: momentum 2 is not in [0, 1)"),
        (["weight_decay: -1"], "solver.prototxt:4: weight_decay -1 makes the weights grow"),
        (["test_interval: 5"], "solver.prototxt:4: test_interval without test_iter: nothing is tested"),
        (["stepvalue: 5"], "solver.prototxt:4: stepvalue counts with lr_policy multistep only"),
        (["type: 'Adam'", "delta: 0"], "solver.prototxt:5: delta 0 gives 0 / 0"),
        (["type: 'AdamW'"], "momentum is not set in solver.prototxt and counts as 0; AdamW"),
        (["onecycle { rise: 0.2 }"], "solver.prototxt:4: onecycle counts with lr_policy onecycle only"),
        (["warmup_ratio: 0.2"], "solver.prototxt:4: warmup_ratio counts with warmup_iter only"),
    ],
)
def test_told_where_caffe_goes_on(warned, fields: list[str], words: str) -> None:
    assert [line for line in warned("base_lr: 0.1", "lr_policy: 'fixed'", *fields) if words in line]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (["lr_policy: 'fixed'"], "base_lr is not set in solver.prototxt and counts as 0"),
        (["base_lr: 1", "lr_policy: 'exp'"], "gamma is not set"),
        (["base_lr: 1", "lr_policy: 'step'", "stepsize: 3"], "gamma is not set"),
        (["base_lr: -1", "lr_policy: 'fixed'"], "base_lr -1 climbs the loss"),
        (["base_lr: 1", "lr_policy: 'multistep'", "gamma: 0.1"], "without stepvalue"),
        (
            ["base_lr: 1", "lr_policy: 'multistep'", "gamma: 0.1", "stepvalue: 9", "stepvalue: 4"],
            "solver.prototxt:6: the stepvalues are not in order (9, 4)",
        ),
    ],
)
def test_schedules_that_are_told(warned, fields: list[str], words: str) -> None:
    assert [line for line in warned(*fields) if words in line]


def test_a_sound_solver_is_not_commented_on(warned) -> None:
    fields = ("base_lr: 1", "momentum: 0.9", "weight_decay: 5e-4", "lr_policy: 'multistep'", "gamma: 0.1")
    assert warned(*fields, "stepvalue: 3", "stepvalue: 5") == []
    assert warned("base_lr: 1", "lr_policy: 'fixed'", "type: 'Adam'", "momentum: 0.9") == []


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ("name: 'empty'", "has no layers"),
        (NET.replace("loss_weight: 1", ""), "has no loss"),
        (NET.replace("loss_weight: 1", "loss_weight: 1 include { phase: TEST }"), "has no loss"),
    ],
)
def test_a_net_that_trains_nothing(warned, net: str, words: str) -> None:
    warned("base_lr: 1", "lr_policy: 'fixed'", "max_iter: 2")
    Path("net.prototxt").write_text(net)
    with pytest.raises(RlossError, match=f"net.prototxt: {words}"):
        train(SolverOrigin("solver.prototxt").read(), options=TrainOptions(out="a", device="cpu"))
    assert not list(Path("a").glob("*iter*"))
