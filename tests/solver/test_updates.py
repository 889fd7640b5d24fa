"""Update rules on plain tensors, against Caffe's formulas written out for one number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from google.protobuf import text_format
from torch import Tensor

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.updating import policies
from rlossctl.solver.updating.updates import Updater


@dataclass
class Blob:
    tensor: Tensor
    lr_mult: float = 1.0
    decay_mult: float = 1.0


def blob(*values: float, lr_mult: float = 1.0, decay_mult: float = 1.0) -> Blob:
    return Blob(torch.tensor(values, requires_grad=lr_mult != 0), lr_mult, decay_mult)


def updater(text: str, *blobs: Blob, dialect: str = "bvlc") -> Updater:
    return Updater(text_format.Parse(text, SolverParameter()), blobs, dialect)


def test_clip_comes_before_iter_size_and_decay() -> None:
    entry = blob(3.0, 4.0)
    entry.tensor.grad = torch.tensor([30.0, 40.0])
    clip = updater("iter_size: 2 clip_gradients: 5 weight_decay: 0.1", entry).apply(1.0, 0)
    assert clip == pytest.approx((50.0, 0.1))
    assert entry.tensor.tolist() == pytest.approx([3 - (3 / 2 + 0.3), 4 - (4 / 2 + 0.4)])


def test_small_gradients_are_not_clipped() -> None:
    entry = blob(1.0)
    entry.tensor.grad = torch.tensor([5.0])
    assert updater("clip_gradients: 5", entry).apply(0.1, 0) is None
    assert entry.tensor.item() == pytest.approx(0.5)


def test_multipliers_and_l1() -> None:
    plain, biased = blob(-2.0), blob(2.0, lr_mult=2.0, decay_mult=0.0)
    plain.tensor.grad, biased.tensor.grad = torch.tensor([0.5]), torch.tensor([0.5])
    updater("weight_decay: 0.1 regularization_type: 'L1'", plain, biased).apply(0.1, 0)
    assert plain.tensor.item() == pytest.approx(-2 - 0.1 * (0.5 - 0.1))
    assert biased.tensor.item() == pytest.approx(2 - 0.2 * 0.5)


def test_the_rate_is_inside_the_velocity() -> None:
    entry = blob(1.0)
    rule = updater("momentum: 0.5", entry)
    for rate in (0.1, 0.01):
        entry.tensor.grad = torch.tensor([1.0])
        rule.apply(rate, 0)
    assert rule.history[0].item() == pytest.approx(0.5 * 0.1 + 0.01)
    assert entry.tensor.item() == pytest.approx(1 - 0.1 - 0.06)


def test_without_a_gradient_decay_still_moves_the_weights() -> None:
    entry = blob(2.0)
    updater("weight_decay: 0.5", entry).apply(0.1, 0)
    assert entry.tensor.item() == pytest.approx(2 - 0.1 * 0.5 * 2)


@pytest.mark.parametrize(("kind", "slots"), [("SGD", 1), ("AdaDelta", 2), ("Adam", 2)])
def test_frozen_parameters_have_zeros_in_the_history(kind: str, slots: int) -> None:
    learns, frozen = blob(1.0, 1.0), blob(7.0, 8.0, 9.0, lr_mult=0.0)
    rule = updater(f"type: '{kind}' weight_decay: 0.1 momentum: 0.5", frozen, learns)
    learns.tensor.grad = torch.ones(2)
    rule.apply(0.1, 0)
    assert [tuple(entry.shape) for entry in rule.history] == [(3,), (2,)] * slots
    assert all(not entry.any() for entry in rule.history[::2])
    assert all(entry.all() for entry in rule.history[1::2])
    assert frozen.tensor.tolist() == [7.0, 8.0, 9.0]


def test_all_frozen() -> None:
    frozen = blob(1.0, lr_mult=0.0)
    assert updater("clip_gradients: 1", frozen).apply(0.1, 0) is None


def reference(kind: str, gradients: list[float], rate: float) -> float:
    """One weight, starting at 1, by the formulas of caffe.md C.3 in double precision."""
    w, h, k = 1.0, 0.0, 0.0
    m, m2, delta, d = 0.9, 0.95, 1e-3, 0.8
    for i, g in enumerate(gradients):
        if kind == "Nesterov":
            before, h = h, m * h + rate * g
            w -= (1 + m) * h - m * before
        elif kind == "AdaGrad":
            h += g * g
            w -= rate * g / (math.sqrt(h) + delta)
        elif kind == "RMSProp":
            h = d * h + (1 - d) * g * g
            w -= rate * g / (math.sqrt(h) + delta)
        elif kind == "AdaDelta":
            h = m * h + (1 - m) * g * g
            u = g * math.sqrt((k + delta) / (h + delta))
            k = m * k + (1 - m) * u * u
            w -= rate * u
        else:
            h = m * h + (1 - m) * g
            k = m2 * k + (1 - m2) * g * g
            w -= rate * math.sqrt(1 - m2 ** (i + 1)) / (1 - m ** (i + 1)) * h / (math.sqrt(k) + delta)
    return w


@pytest.mark.parametrize("kind", ["Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_rule(kind: str) -> None:
    gradients = [0.5, -1.0, 2.0, 0.1]
    momentum = "" if kind in ("AdaGrad", "RMSProp") else "momentum: 0.9"
    entry = blob(1.0)
    rule = updater(f"type: '{kind}' {momentum} momentum2: 0.95 delta: 1e-3 rms_decay: 0.8", entry)
    for iteration, gradient in enumerate(gradients):
        entry.tensor.grad = torch.tensor([gradient])
        rule.apply(0.3, iteration)
    assert entry.tensor.item() == pytest.approx(reference(kind, gradients, 0.3), rel=1e-5)


@pytest.mark.parametrize(("dialect", "expected"), [("bvlc", 0.01), ("rloss", 1.0)])
def test_rms_decay_has_a_default_in_bvlc_only(dialect: str, expected: float) -> None:
    entry = blob(1.0)
    entry.tensor.grad = torch.tensor([1.0])
    rule = updater("type: 'RMSProp'", entry, dialect=dialect)
    rule.apply(0.1, 0)
    assert rule.history[0].item() == pytest.approx(expected)


def test_diffs_are_what_was_subtracted() -> None:
    frozen, entry = blob(5.0, lr_mult=0.0), blob(1.0)
    entry.tensor.grad = torch.tensor([1.0])
    rule = updater("type: 'Nesterov' momentum: 0.9", frozen, entry)
    rule.apply(0.1, 0)
    assert [diff.item() for diff in rule.last_diffs()] == pytest.approx([0.0, 1 - entry.tensor.item()])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type: 'adam'", "unknown solver type"),
        ("type: 'AdaGrad' momentum: 0.9", "momentum cannot be used with AdaGrad"),
        ("type: 'RMSProp' momentum: 0.9", "momentum cannot be used with RMSProp"),
        ("type: 'RMSProp' rms_decay: 1", "rms_decay is out of range"),
        ("regularization_type: 'L3'", "unknown regularization_type"),
        ("iter_size: 0", "iter_size is out of range"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(PrototxtError, match=words):
        updater(text, blob(1.0))


def test_adamw_is_torchs_also_with_onecycle() -> None:
    """Rates, multipliers, decoupled decay and beta1 that the schedule changes, against torch.optim.AdamW."""
    values = torch.linspace(-2, 3, 12).reshape(3, 4)
    mults = [(1.0, 1.0), (10.0, 0.0), (2.0, 0.5)]
    mine = [Blob(row.clone().requires_grad_(), *mult) for row, mult in zip(values, mults, strict=True)]
    theirs = [torch.nn.Parameter(row.clone()) for row in values]
    text = "type: 'AdamW' momentum2: 0.99 weight_decay: 0.05 delta: 1e-6 base_lr: 0.02 max_iter: 12"
    param = text_format.Parse(f"{text} lr_policy: 'onecycle'", SolverParameter())
    rule = Updater(param, mine)
    groups = [
        {"params": [blob], "weight_decay": 0.05 * decay}
        for blob, (_, decay) in zip(theirs, mults, strict=True)
    ]
    reference = torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-6)
    for k in range(12):
        rate, momentum = policies.learning_rate(param, k), policies.momentum(param, k)
        for group, (lr_mult, _) in zip(reference.param_groups, mults, strict=True):
            group.update(lr=rate * lr_mult, betas=(momentum, 0.99))
        for blob, other in zip(mine, theirs, strict=True):
            blob.tensor.grad = (blob.tensor.detach() * 3 + k).cos()
            other.grad = (other.detach() * 3 + k).cos()
        rule.apply(rate, k, momentum)
        reference.step()
    for blob, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(blob.tensor.detach(), other.detach(), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["Adamax", "RAdam"])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_adamax_and_radam_are_torchs(name: str, decay: float) -> None:
    """20 updates: RAdam's first ones take the mean alone. Zero gradients, too."""
    values = torch.linspace(-2, 3, 12).reshape(3, 4)
    mine = [Blob(row.clone().requires_grad_(), 1.0, 1.0) for row in values]
    theirs = [torch.nn.Parameter(row.clone()) for row in values]
    param = text_format.Parse(
        f"type: '{name}' momentum: 0.9 momentum2: 0.99 weight_decay: {decay}", SolverParameter()
    )
    rule = Updater(param, mine)
    reference = getattr(torch.optim, name)(theirs, lr=0.02, betas=(0.9, 0.99), eps=1e-8, weight_decay=decay)
    for k in range(20):
        for blob, other in zip(mine, theirs, strict=True):
            blob.tensor.grad = (blob.tensor.detach() * 3 + k).cos() * (k != 4)
            other.grad = (other.detach() * 3 + k).cos() * (k != 4)
        rule.apply(0.02, k)
        reference.step()
    for blob, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(blob.tensor.detach(), other.detach(), rtol=2e-5, atol=1e-7)


def test_adamw_has_no_l1() -> None:
    with pytest.raises(PrototxtError, match="shrinks the weights themselves"):
        updater("type: 'AdamW' regularization_type: 'L1'", blob(1.0))
