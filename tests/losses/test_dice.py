"""The Dice loss: recorded cases, its fraction in each reduction, and what no input may break."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn import functional

from rlossctl.errors import NetError
from rlossctl.losses import DiceLoss, dice_loss, focal_loss

NET = """input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "t" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
layer { name: "l" type: "DiceLoss" bottom: "x" bottom: "t" top: "loss" %s }
"""


@pytest.mark.parametrize(
    "name",
    [
        "bdice_all_valid",
        "bdice_ignore_fixed",
        "dice_absent_class",
        "dice_all_ignored_fixed",
        "dice_all_valid",
        "dice_ignore_fixed",
        "dice_one_row_fixed",
        "dice_smooth_0",
        "logcosh_dice",
        "logcosh_dice_ignore_fixed",
    ],
)
def test_recorded(recorded, reproduces, name):
    case = recorded("segmentation", name)
    label = torch.from_numpy(case["in/label"])
    loss = DiceLoss(
        json.loads(str(case["params"]))["smooth"],
        "sigmoid" if name.startswith("bdice") else "softmax",
        log_cosh=name.startswith("logcosh"),
    )
    reproduces(lambda x: loss(x, label), case["in/logits"], case["out/loss"], case["grad/logits"])


@pytest.mark.parametrize(
    ("name", "smooth"),
    [("ce_dice_all_valid", 1), ("ce_dice_ignore_fixed", 1), ("ce_dice_smooth10_ignore_fixed", 10)],
)
def test_recorded_beside_cross_entropy(recorded, reproduces, name, smooth):
    case = recorded("segmentation", name)
    label = torch.from_numpy(case["in/label"])
    reproduces(
        lambda x: focal_loss(x, label, gamma=0) + dice_loss(x, label, smooth),
        case["in/logits"],
        case["out/loss"],
        case["grad/logits"],
    )


def fraction(p: torch.Tensor, target: torch.Tensor, smooth: float) -> float:
    total = float(p.sum() + target.sum() + smooth)
    return 1 - float(2 * (p * target).sum() + smooth) / total if total else 0.0


def by_fractions(scores, label, smooth, activation, reduction):
    """The definition from boolean selections."""
    p = scores.softmax(1) if activation == "softmax" else scores.sigmoid()
    valid = label != 255
    target = functional.one_hot(label.where(valid, 0), scores.shape[1]).movedim(-1, 1).double()
    pixels, hits = p.movedim(1, -1), target.movedim(1, -1)
    if reduction == "batch":
        return fraction(pixels[valid], hits[valid], smooth)
    if reduction == "class":
        parts = [fraction(pixels[valid][:, c], hits[valid][:, c], smooth) for c in range(scores.shape[1])]
    else:
        parts = [fraction(a[v], b[v], smooth) for a, b, v in zip(pixels, hits, valid, strict=True) if v.any()]
    return sum(parts) / len(parts)


@pytest.mark.slow
@pytest.mark.proves("DiceLoss", gradient=True)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("reduction", ["batch", "image", "class"])
@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (2, 1, 3, 3), (2, 2, 1, 7), (1, 21, 5, 1), (1, 150, 2, 2)])
def test_formula(draw, activation, reduction, shape):
    scores, label = draw(*shape)
    if len(label) == 3:
        label[1] = 255
    for smooth in (0.0, 0.5):
        expected = by_fractions(scores, label, smooth, activation, reduction)
        found = dice_loss(scores, label, smooth, activation, reduction)
        assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-14)
    curved = dice_loss(scores, label, 0.5, activation, reduction, log_cosh=True)
    assert curved.item() == pytest.approx(math.log(math.cosh(expected)), rel=1e-10, abs=1e-14)
    assert torch.autograd.gradcheck(
        lambda x: dice_loss(x, label, 0.5, activation, reduction, log_cosh=True), scores.requires_grad_()
    )


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("reduction", ["batch", "image", "class"])
def test_nothing_labelled_is_zero_with_a_gradient(draw, reduction, smooth):
    scores, label = draw(2, 3, 4, 5)
    loss = dice_loss(scores.requires_grad_(), torch.full_like(label, 255), smooth, reduction=reduction)
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


@pytest.mark.parametrize("reduction", ["batch", "image", "class"])
def test_half_types_and_autocast(draw, bears, reduction):
    scores, label = draw(2, 5, 4, 6)
    bears(lambda x: dice_loss(x, label, reduction=reduction), scores)


def test_layer_reads_its_message(build, draw):
    scores, label = draw(2, 3, 4, 5)
    param = "loss_param { ignore_label: 255 } "
    param += "dice_loss_param { smooth: 2 activation: SIGMOID reduction: CLASS log_cosh: true }"
    found = build(NET % param)(x=scores.float(), t=label.unsqueeze(1).float())["loss"]
    assert torch.equal(found, dice_loss(scores.float(), label, 2, "sigmoid", "class", True))
    default = build(NET % "loss_param { ignore_label: 255 }")(x=scores.float(), t=label.float().unsqueeze(1))
    assert torch.equal(default["loss"], dice_loss(scores.float(), label))


def test_what_is_refused(build):
    with pytest.raises(NetError, match="'l' \\(DiceLoss\\): smooth is out of range"):
        build(NET % "dice_loss_param { smooth: -1 }")
    with pytest.raises(NetError, match="'l' \\(DiceLoss\\): does not go by all of its loss_param"):
        build(NET % "loss_param { normalization: FULL }")
    with pytest.raises(NetError, match="reduction"):
        dice_loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), reduction="pixel")
    with pytest.raises(NetError, match="'l' \\(DiceLoss\\): label ids out of range"):
        build(NET % "")(x=torch.zeros(2, 3, 4, 5), t=torch.full((2, 1, 4, 5), 255.0))
