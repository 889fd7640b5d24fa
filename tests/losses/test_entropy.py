"""The entropy loss: its formula, the distance to strokes, and what no input may break."""

from __future__ import annotations

import math

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import EntropyLoss, entropy_loss
from rlossctl.losses.entropy import stroke_distance

NET = """input: "p" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "t" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
layer { name: "l" type: "EntropyLoss" bottom: "p" %s top: "loss" loss_weight: 1 %s }
"""
SHAPES = [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (2, 21, 5, 1), (1, 150, 2, 2)]


def by_pixel(prob, weights):
    total, count = 0.0, 0.0
    for pixel, weight in zip(
        prob.movedim(1, -1).flatten(0, 2).tolist(), weights.flatten().tolist(), strict=True
    ):
        total += weight * sum(-p * math.log(p) for p in pixel if p)
        count += weight
    return total / count if count else 0.0


@pytest.mark.proves("EntropyLoss", gradient=True)
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(draw, shape):
    scores, label = draw(*shape)
    mask = (label == 255).double()
    found = entropy_loss(scores.softmax(1), mask)
    assert found.item() == pytest.approx(by_pixel(scores.softmax(1), mask), rel=1e-12, abs=1e-15)
    assert torch.equal(EntropyLoss()(scores.softmax(1), label), found)
    everywhere = by_pixel(scores.softmax(1), torch.ones_like(mask))
    assert entropy_loss(scores.softmax(1)).item() == pytest.approx(everywhere, rel=1e-12, abs=1e-15)
    assert torch.autograd.gradcheck(lambda x: entropy_loss(x.softmax(1), mask), scores.requires_grad_())


@pytest.mark.parametrize("shape", SHAPES)
def test_distance_formula(draw, shape):
    scores, label = draw(*shape)
    label = label.where(torch.rand(label.shape, generator=torch.Generator().manual_seed(1)) < 0.3, 255)
    weights = torch.zeros(label.shape)
    for n in range(len(label)):
        strokes = (label[n] != 255).nonzero().tolist()
        for y, x in (label[n] == 255).nonzero().tolist():
            d = min((math.dist((y, x), stroke) for stroke in strokes), default=math.inf)
            weights[n, y, x] = math.exp(-d / 1.5)
    found = EntropyLoss(distance=1.5)(scores.softmax(1), label)
    assert found.item() == pytest.approx(by_pixel(scores.softmax(1), weights), rel=1e-5)


def test_distance_along_columns_and_rows():
    labelled = torch.zeros(2, 4, 5, dtype=torch.bool)
    labelled[0, 3, 0] = True
    expected = torch.tensor([[math.hypot(3 - y, x) for x in range(5)] for y in range(4)])
    found = stroke_distance(labelled, 10)
    torch.testing.assert_close(found[0], expected)
    assert torch.isinf(found[1]).all()


def test_certain_probabilities_give_no_nan():
    x = torch.tensor([200.0, -200.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    loss = entropy_loss(x.softmax(1))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(x.grad).all()


def test_empty_masks_are_zero_with_a_gradient(draw):
    scores, label = draw(2, 3, 4, 5)
    scores.requires_grad_()
    nothing = torch.zeros(2, 4, 5)
    for loss in (
        entropy_loss(scores.softmax(1), nothing),
        EntropyLoss()(scores.softmax(1), nothing),  # all labelled
        EntropyLoss()(scores.softmax(1), label, nothing),
        EntropyLoss(distance=2)(scores.softmax(1), torch.full_like(label, 255)),  # none labelled
    ):
        scores.grad = None
        loss.backward()
        assert loss.item() == 0 and not scores.grad.any()


def test_half_types_and_autocast(draw, bears):
    scores, label = draw(2, 5, 4, 6)
    bears(lambda p: EntropyLoss(distance=3)(p, label), scores.softmax(1))


def test_layer_of_a_mask(build, draw):
    scores, label = draw(2, 3, 4, 5)
    prob, mask = scores.softmax(1).float(), 2.0 * (label == 255).unsqueeze(1)
    inputs = {"p": prob, "t": mask, "data": torch.zeros(2, 3, 4, 5)}
    assert torch.equal(build(NET % ("", ""))(**inputs)["loss"], entropy_loss(prob))
    assert torch.equal(build(NET % ('bottom: "t"', ""))(**inputs)["loss"], entropy_loss(prob, mask / 2))


def test_layer_of_labels_and_an_image_with_padding(build, draw):
    scores, label = draw(2, 3, 4, 5)
    data = torch.randn(2, 3, 4, 5)
    data[:, :, 2:] = 0
    mask = torch.ones(2, 4, 5)
    mask[:, 2:] = 0
    fields = "loss_param { ignore_label: 255 } entropy_loss_param { region: UNLABELLED distance: 2 }"
    net = build(NET % ('bottom: "t" bottom: "data"', fields))
    prob = scores.softmax(1).float()
    inputs = {"p": prob, "t": label.unsqueeze(1).float(), "data": data}
    found = net(**inputs)["loss"]
    assert torch.equal(found, EntropyLoss(distance=2)(prob, label, mask))


@pytest.mark.parametrize(
    ("bottoms", "fields", "words"),
    [
        ("", "loss_param { normalization: FULL }", "does not go by all"),
        ('bottom: "t"', "entropy_loss_param { region: UNLABELLED }", "which label stands for none"),
        ("", "entropy_loss_param { region: UNLABELLED }", "wrong number of bottoms"),
        ('bottom: "t" bottom: "data"', "", "wrong number of bottoms"),
        ('bottom: "t"', "entropy_loss_param { distance: 2 }", "distance to labels alone"),
        (
            'bottom: "t"',
            "loss_param { ignore_label: 255 } entropy_loss_param { region: UNLABELLED distance: -1 }",
            "distance is out of range",
        ),
    ],
)
def test_layers_that_are_refused(build, bottoms, fields, words):
    with pytest.raises(NetError, match=f"'l' \\(EntropyLoss\\): .*{words}"):
        build(NET % (bottoms, fields))


def test_shapes_that_do_not_fit():
    with pytest.raises(NetError, match="mask do not fit"):
        entropy_loss(torch.ones(1, 2, 3, 3), torch.ones(1, 3, 4))
    with pytest.raises(NetError, match="one label per pixel"):
        EntropyLoss()(torch.ones(1, 2, 3, 3), torch.ones(1, 3, 4))
    with pytest.raises(NetError, match="probabilities of images"):
        entropy_loss(torch.ones(2, 3))
