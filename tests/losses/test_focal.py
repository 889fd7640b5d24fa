"""The focal loss: recorded cases, its formula pixel by pixel, and what no input may break."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import FocalLoss, focal_loss

NET = """input: "x" input_shape { dim: 2 dim: 3 dim: 2 dim: 4 }
input: "t" input_shape { dim: 2 dim: 1 dim: 2 dim: 4 }
layer { name: "l" type: "FocalLoss" bottom: "x" bottom: "t" top: "loss" %s }
"""


@pytest.mark.parametrize(
    "name",
    [
        "bce_all_ignored_fixed",
        "bce_all_valid",
        "bce_focal_all_valid_fixed",
        "bce_focal_ignore_fixed",
        "bce_ignore_fixed",
        "focal_all_ignored_fixed",
        "focal_all_valid",
        "focal_alpha_fixed",
        "focal_gamma_0p5",
        "focal_ignore_fixed",
        "focal_one_column",
        "focal_sum",
    ],
)
def test_recorded(recorded, reproduces, name):
    case = recorded("segmentation", name)
    label = torch.from_numpy(case["in/label"])
    gamma = json.loads(str(case["params"])).get("gamma", 2.0)
    loss = FocalLoss(
        gamma=0.0 if name.startswith("bce") and "focal" not in name else gamma,
        alpha=case["in/class_weight"].tolist() if "in/class_weight" in case else None,
        activation="sigmoid" if name.startswith("bce") else "softmax",
        reduction="sum" if name == "focal_sum" else "mean",
    )
    reproduces(lambda x: loss(x, label), case["in/logits"], case["out/loss"], case["grad/logits"])


def by_pixel(scores, label, gamma, alpha, activation):
    """The definition with one loop per axis, for scores [N, C, h, w]."""
    images, classes, height, width = scores.shape
    total, count = 0.0, 0
    for n, y, x in itertools.product(range(images), range(height), range(width)):
        own = int(label[n, y, x])
        if own == 255:
            continue
        z = scores[n, :, y, x].tolist()
        count += 1 if activation == "softmax" else classes
        if activation == "softmax":
            p = math.exp(z[own]) / sum(map(math.exp, z))
            total += -alpha[own] * (1 - p) ** gamma * math.log(p)
        else:
            for c in range(classes):
                p = 1 / (1 + math.exp(-z[c] if c == own else z[c]))
                total += -alpha[c] * (1 - p) ** gamma * math.log(p)
    return total / max(count, 1)


@pytest.mark.proves("FocalLoss", gradient=True)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (1, 21, 5, 1), (1, 150, 2, 2)])
def test_formula(draw, activation, shape):
    scores, label = draw(*shape)
    alpha = torch.linspace(0.5, 2, shape[1]).tolist()
    expected = by_pixel(scores, label, 1.5, alpha, activation)
    assert focal_loss(scores, label, 1.5, alpha, activation).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: focal_loss(x, label, 1.5, alpha, activation), scores.requires_grad_()
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_nothing_labelled_is_zero_with_a_gradient(draw, activation):
    scores, label = draw(2, 3, 4, 5)
    loss = focal_loss(scores.requires_grad_(), torch.full_like(label, 255), activation=activation)
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


@pytest.mark.parametrize(("activation", "value"), [("softmax", 400 / 2), ("sigmoid", (200 + 200) / 4)])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_scores_that_are_sure_give_no_nan(activation, value, gamma):
    x = torch.tensor([[200.0, -200.0], [-200.0, 200.0]]).view(2, 2, 1, 1).requires_grad_()
    label = torch.zeros(2, 1, 1)  # the first is right, the second wrong
    loss = focal_loss(x, label, gamma, activation=activation)
    loss.backward()
    assert loss.item() == pytest.approx(value) and torch.isfinite(x.grad).all() and not x.grad[0].any()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_half_types_and_autocast(draw, bears, activation):
    scores, label = draw(2, 5, 4, 6)
    bears(lambda x: focal_loss(x, label, activation=activation), scores)


@pytest.mark.parametrize(
    ("normalization", "norm"), [("FULL", 16), ("BATCH_SIZE", 2), ("NONE", 1), ("VALID", 15)]
)
def test_layer_divides_as_the_softmax_loss(build, normalization, norm):
    param = f"loss_param {{ ignore_label: 9 normalization: {normalization} }} focal_loss_param {{ gamma: 0 }}"
    x = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    label = torch.arange(16).view(2, 1, 2, 4) % 3
    label[1, 0, 1, 2] = 9
    expected = torch.nn.functional.cross_entropy(x, label[:, 0], ignore_index=9, reduction="sum") / norm
    assert build(NET % param)(x=x, t=label.float())["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    other = build((NET % param).replace("FocalLoss", "SoftmaxWithLoss"))(x=x, t=label.float())["loss"]
    torch.testing.assert_close(other.flatten()[0], expected)


def test_layer_names_itself_and_the_samples(build):
    with pytest.raises(NetError, match="'l' \\(FocalLoss\\): gamma is out of range"):
        build(NET % "focal_loss_param { gamma: -1 }")
    with pytest.raises(NetError, match="'l' \\(FocalLoss\\): alpha must be given once per class"):
        build(NET % "focal_loss_param { alpha: 1 alpha: 2 }")
    with pytest.raises(NetError, match="'l' \\(FocalLoss\\): has no class weights to divide by"):
        build(NET % "loss_param { normalization: WEIGHTS }")
    with pytest.raises(NetError, match="'l' \\(FocalLoss\\): does not go by all of its loss_param") as caught:
        build(NET % "loss_param { ignore_label: 255 normalize: true }")
    assert (caught.value.found, caught.value.expected) == (
        "normalize",
        "ignore_label and normalization alone",
    )
    net = build(NET % "", where="train.prototxt")
    label = torch.zeros(2, 1, 2, 4)
    label[1, 0, 0, 0] = 255
    with pytest.raises(NetError, match="'l' \\(FocalLoss\\): label ids out of range") as caught:
        net(x=torch.zeros(2, 3, 2, 4), t=label)
    assert (caught.value.samples, caught.value.batch_size) == ([1], 2)
    assert caught.value.where == "train.prototxt:3" and caught.value.expected == "0 to 2"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"activation": "tanh"}, "activation"),
        ({"reduction": "max"}, "reduction"),
        ({"gamma": math.nan}, "gamma"),
    ],
)
def test_settings_that_are_none(settings, words):
    with pytest.raises(NetError, match=words):
        focal_loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), **settings)


def test_labels_that_do_not_fit():
    with pytest.raises(NetError, match="one label per position"):
        focal_loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 4))
    with pytest.raises(NetError, match="floating-point scores"):
        focal_loss(torch.zeros(1, 2, 3, 3, dtype=torch.long), torch.zeros(1, 3, 3))
