"""Learning rates by hand, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.updating import policies


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


# What Caffe does not have: recorded from other programs, and torch's own


def recorded(shared, name: str) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(shared / f"golden/losses/segmentation/lr_{name}.npz") as arrays:
        return json.loads(str(arrays["params"])), {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize("policy", ["poly", "poly_warmup", "onecycle"])
@pytest.mark.parametrize("size", ["2x40", "3x1", "5x7"])
def test_pytorch_segmentation_is_one_step_ahead(shared, policy: str, size: str) -> None:
    if (policy, size) == ("onecycle", "3x1"):
        size = "2x40"  # the original divides by 0 at 3x1
    param, arrays = recorded(shared, f"{policy}_{size}")
    each = param["iters_per_epoch"]
    kind, ahead = ("onecycle", 1) if policy == "onecycle" else ("poly", 1)
    message = text_format.Parse(
        f"base_lr: {param['base_lr']} lr_policy: '{kind}' power: 0.9 lr_ahead: {ahead} "
        f"max_iter: {param['epochs'] * each} warmup_iter: {param.get('warmup_epochs', 0) * each}",
        SolverParameter(),
    )
    wanted = arrays["out/lr"][:, 0]
    assert [policies.learning_rate(message, k) for k in range(len(wanted))] == pytest.approx(wanted, rel=1e-6)
    if policy == "onecycle":
        momenta = [policies.momentum(message, k) for k in range(len(wanted))]
        assert momenta == pytest.approx(arrays["out/momentum"], rel=1e-9)


@pytest.mark.parametrize("program", ["gatedcrf", "ddd"])
def test_poly_of_programs_that_are_not_ahead(shared, program: str) -> None:
    param, arrays = recorded(shared, f"{program}_poly")
    total = param["total"]
    message = text_format.Parse(
        f"base_lr: {param['base_lr']} lr_policy: 'poly' power: {param['power']} max_iter: {total}",
        SolverParameter(),
    )
    wanted = arrays["out/lr"][:total]
    assert [policies.learning_rate(message, k) for k in range(total)] == pytest.approx(wanted, rel=1e-6)


def torch_rates(make, steps: int) -> tuple[list[float], list[float]]:
    """Rates and momenta that a torch scheduler gives."""
    rule = torch.optim.SGD([torch.zeros(1)], lr=0.5, momentum=0.9)
    schedule, rates, momenta = make(rule), [], []
    for _ in range(steps):
        rates.append(rule.param_groups[0]["lr"])
        momenta.append(rule.param_groups[0]["momentum"])
        rule.step()
        schedule.step()
    return rates, momenta


def test_cosine_is_torchs() -> None:
    param = solver("lr_policy: 'cosine' max_iter: 40")
    rates, _ = torch_rates(lambda rule: torch.optim.lr_scheduler.CosineAnnealingLR(rule, 40), 40)
    assert [policies.learning_rate(param, k) for k in range(40)] == pytest.approx(rates, rel=1e-9)


def test_onecycle_is_torchs_of_one_step_more() -> None:
    """torch counts its last step as the end of the schedule; here max_iter is its end."""
    param = solver("lr_policy: 'onecycle' max_iter: 40 onecycle { rise: 0.25 momentum_low: 0.8 }")
    rates, momenta = torch_rates(
        lambda rule: torch.optim.lr_scheduler.OneCycleLR(
            rule, 0.5, total_steps=41, pct_start=11 / 41, base_momentum=0.8, final_div_factor=1e4
        ),
        40,
    )
    assert [policies.learning_rate(param, k) for k in range(40)] == pytest.approx(rates, rel=1e-9)
    assert [policies.momentum(param, k) for k in range(40)] == pytest.approx(momenta, rel=1e-9)


def test_warm_up_is_torchs_and_then_the_policys() -> None:
    param = solver("lr_policy: 'step' gamma: 0.1 stepsize: 12 warmup_iter: 8 warmup_ratio: 0.25")
    rates, _ = torch_rates(
        lambda rule: torch.optim.lr_scheduler.LinearLR(rule, start_factor=0.25, total_iters=8), 12
    )
    assert [policies.learning_rate(param, k) for k in range(12)] == pytest.approx(rates, rel=1e-9)
    assert policies.learning_rate(param, 12) == pytest.approx(0.05)


def test_every_policy_can_be_ahead() -> None:
    for text in ("'step' gamma: 0.1 stepsize: 5", "'multistep' gamma: 0.1 stepvalue: 5", "'exp' gamma: 0.9"):
        plain, ahead = solver(f"lr_policy: {text}"), solver(f"lr_policy: {text} lr_ahead: 2")
        for k in range(9):
            assert policies.learning_rate(ahead, k) == policies.learning_rate(plain, k + 2)
        assert policies.advance(ahead, 3, 0) == policies.advance(plain, 5, 0)
    assert policies.learning_rate(solver("lr_policy: 'poly' power: 1 max_iter: 4 lr_ahead: 1"), 3) == 0


def test_onecycle_without_room_is_refused() -> None:
    with pytest.raises(PrototxtError, match="no iterations to rise or to fall"):
        policies.learning_rate(solver("lr_policy: 'onecycle' max_iter: 3"), 0)
