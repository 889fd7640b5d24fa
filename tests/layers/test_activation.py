"""Activations and arithmetic where no recording exists: ReLU6, PReLU's start, and what is refused."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

SHAPE = (2, 3, 4)


@pytest.mark.proves("ReLU6", "", gradient=True)
def test_relu6_passes_no_gradient_at_its_bounds(layer):
    x = torch.tensor([-1.0, 0, 3, 6, 7]).requires_grad_()
    y = layer("ReLU6", "", (5,))(a=x)["t0"]
    y.sum().backward()
    assert y.tolist() == [0, 0, 3, 6, 6] and x.grad.tolist() == [0, 0, 1, 0, 0]


def test_prelu_starts_at_a_quarter_or_as_its_filler_says(layer):
    assert layer("PReLU", "", SHAPE).params["l"][0].tolist() == [0.25] * 3
    filled = layer("PReLU", "prelu_param { channel_shared: true filler { value: 0.1 } }", SHAPE)
    assert filled.params["l"][0].item() == pytest.approx(0.1) and filled.params["l"][0].dim() == 0


def test_bnll_and_elu_stay_finite_for_large_values(layer):
    x = torch.tensor([-1000.0, 0.0, 1000.0], requires_grad=True)
    for kind, expected in (("BNLL", [0, 0.693147, 1000]), ("ELU", [-1, 0, 1000])):
        y = layer(kind, "", (3,))(a=x)["t0"]
        (grad,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float32))
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("Exp", "exp_param { base: 0 }", "base must be positive"),
        ("Log", "log_param { base: -2 }", "base must be positive"),
        ("Log", "log_param { base: 1 }", "no logarithm"),
        ("Clip", "", "min and max"),
        ("Clip", "clip_param { min: 1 max: 0 }", "min exceeds max"),
        ("ReLU6", "relu6_param { negative_slope: 0.1 }", "no agreed meaning"),
    ],
)
def test_impossible_parameters_are_refused(layer, kind, fields, message):
    with pytest.raises(NetError, match=message):
        layer(kind, fields, SHAPE)


def test_prelu_needs_channels(layer):
    with pytest.raises(NetError, match="channel axis"):
        layer("PReLU", "", (4,))


def test_scale_train_false_scales_in_test(build):
    """As in the detection forks: TRAIN drops without scaling, TEST multiplies by 1 - ratio."""
    text = (
        'input: "a" input_shape { dim: 400 dim: 50 } layer { name: "d" type: "Dropout" bottom: "a" top: "t" '
        "dropout_param { dropout_ratio: 0.3 scale_train: false } }"
    )
    x = torch.ones(400, 50)
    torch.testing.assert_close(build(text, "TEST").run({"a": x}).blobs["t"], 0.7 * x)
    dropped = build(text, "TRAIN").run({"a": x}).blobs["t"]
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1.0]))
    assert abs(dropped.mean().item() - 0.7) < 0.02


@pytest.mark.proves("Axpy", gradient=True)
@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 3)])
def test_axpy(layer, shape):
    a, x, y = (torch.randn(size, requires_grad=True) for size in (shape, (2, 3, 4, 5), (2, 3, 4, 5)))
    found = layer("Axpy", "", shape, (2, 3, 4, 5), (2, 3, 4, 5))(a=a, b=x, c=y)["t0"]
    factor, weight = a.detach().reshape(2, 3, 1, 1), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(found, factor * x + y)
    (found * weight).sum().backward()
    torch.testing.assert_close(a.grad.reshape(2, 3), (weight * x.detach()).sum((2, 3)))
    torch.testing.assert_close(x.grad, weight * factor)
    torch.testing.assert_close(y.grad, weight)


def test_axpy_refuses_other_sizes(layer):
    with pytest.raises(NetError, match="a value per channel"):
        layer("Axpy", "", (2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5))


@pytest.mark.proves("HardSwish", "", gradient=True)
def test_hard_swish_bends_at_minus_3_and_3(layer):
    x = torch.tensor([-4.0, -1, 0, 1, 4]).requires_grad_()
    y = layer("HardSwish", "", (5,))(a=x)["t0"]
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([0, -1 / 3, 0, 2 / 3, 4]))
    torch.testing.assert_close(x.grad, torch.tensor([0, 1 / 6, 1 / 2, 5 / 6, 1]))


@pytest.mark.proves("HardSigmoid", "", gradient=True)
def test_hard_sigmoid_is_a_line_between_minus_3_and_3(layer):
    x = torch.tensor([-4.0, -1, 0, 1, 4]).requires_grad_()
    y = layer("HardSigmoid", "", (5,))(a=x)["t0"]
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([0, 1 / 3, 1 / 2, 2 / 3, 1]))
    torch.testing.assert_close(x.grad, torch.tensor([0, 1 / 6, 1 / 6, 1 / 6, 0]))
