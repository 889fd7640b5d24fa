"""Learning rates by hand, and what is refused."""

from __future__ import annotations

import math

import pytest
from google.protobuf import text_format

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver import policies


def solver(text: str):
    return text_format.Parse(f"base_lr: 0.5 {text}", SolverParameter())


@pytest.mark.parametrize(
    ("text", "iteration", "rate"),
    [
        ("lr_policy: 'fixed'", 100, 0.5),
        ("lr_policy: 'step' gamma: 0.1 stepsize: 10", 9, 0.5),
        ("lr_policy: 'step' gamma: 0.1 stepsize: 10", 20, 0.005),
        ("lr_policy: 'exp' gamma: 0.9", 3, 0.5 * 0.9**3),
        ("lr_policy: 'inv' gamma: 0.1 power: 0.75", 30, 0.5 * 4**-0.75),
        ("lr_policy: 'poly' power: 0.9 max_iter: 40", 10, 0.5 * 0.75**0.9),
        ("lr_policy: 'poly' power: 0.9 max_iter: 40", 40, 0.0),
        ("lr_policy: 'sigmoid' gamma: 0.3 stepsize: 12", 12, 0.25),
        ("lr_policy: 'sigmoid' gamma: -0.3 stepsize: 12", 22, 0.5 / (1 + math.exp(3))),
        ("lr_policy: 'sigmoid' gamma: 50 stepsize: 1000", 0, 0.0),
    ],
)
def test_rate(text: str, iteration: int, rate: float) -> None:
    assert policies.learning_rate(solver(text), iteration) == pytest.approx(rate, rel=1e-6)


def test_multistep_counts_one_step_per_iteration() -> None:
    param = solver("lr_policy: 'multistep' gamma: 0.5 stepvalue: 5 stepvalue: 9 stepvalue: 9 stepvalue: 20")
    step, counted = 0, []
    for iteration in range(25):
        step = policies.advance(param, iteration, step)
        counted.append(step)
    assert counted == [policies.step_count(param, iteration) for iteration in range(25)]
    assert [counted[i] for i in (4, 5, 8, 9, 10, 19, 20)] == [0, 1, 1, 2, 3, 3, 4]
    assert policies.learning_rate(param, 10) == pytest.approx(0.5 * 0.5**3)


def test_multistep_goes_on_from_the_snapshots_count() -> None:
    param = solver("lr_policy: 'multistep' gamma: 0.5 stepvalue: 5 stepvalue: 9")
    assert policies.advance(param, 8, 0) == 1
    assert policies.advance(param, 100, 2) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr_policy: 'plateau'", "unknown learning rate policy"),
        ("", "no lr_policy"),
        ("lr_policy: 'step' gamma: 0.1", "needs stepsize"),
        ("lr_policy: 'poly' power: 1", "needs max_iter"),
        ("lr_policy: 'exp' gamma: 1e30", "no finite learning rate"),
        ("lr_policy: 'inv' gamma: -1 power: 0.5", "no finite learning rate"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(PrototxtError, match=words):
        policies.learning_rate(solver(text), 50)


def test_poly_ends_at_max_iter() -> None:
    with pytest.raises(PrototxtError, match="schedule has ended"):
        policies.learning_rate(solver("lr_policy: 'poly' power: 0.9 max_iter: 40"), 41)


def test_unset_fields_are_named() -> None:
    assert policies.unset_fields(solver("lr_policy: 'inv' power: 1")) == ["gamma"]
