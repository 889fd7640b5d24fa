"""Soft self-labelling: the energy never rises, labelled pixels stay, and the loss is its formula."""

from __future__ import annotations

import itertools

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import (
    CollisionCrossEntropyLoss,
    SoftPseudoLabel,
    collision_cross_entropy_loss,
    potts_loss,
    soft_pseudo_label,
)
from rlossctl.losses.self_labelling import Energy

NET = """input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "p" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "label" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
layer { name: "soft" type: "SoftPseudoLabel" bottom: "data" bottom: "p" bottom: "label" top: "y"
  loss_param { ignore_label: 255 } %s }
layer { name: "l" type: "CollisionCrossEntropyLoss" bottom: "p" bottom: "y" %s top: "loss"
  loss_weight: 0.3 }"""


@pytest.fixture
def image():
    return 255 * torch.rand((2, 3, 4, 5), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def energy(image, prob, label, soft, eta=0.3, smoothness=6.0, image_std=0.0):
    """By the loss functions, one image."""
    free = (label == 255).unsqueeze(1)
    own = -(prob * soft).sum(1, keepdim=True).log()[free].sum()
    pairs = potts_loss(image, soft, None, "collision_divergence", image_std, 4, "sum")
    return (eta * own + smoothness * pairs).item()


@pytest.mark.proves("SoftPseudoLabel")
@pytest.mark.parametrize("image_std", [0.0, 40.0])
def test_the_energy_never_rises_and_falls_far(draw, image, image_std):
    scores, label = draw(2, 3, 4, 5)
    prob, label[..., 2:] = scores.softmax(1), 255
    for at in range(2):
        given = image[at : at + 1], prob[at : at + 1], label[at : at + 1]
        values = [
            energy(
                *given, soft_pseudo_label(*given, image_std=image_std, iterations=count), image_std=image_std
            )
            for count in range(25)
        ]
        assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(values))
        assert values[-1] < 0.7 * values[0]


def test_the_slope_is_the_derivative_of_the_energy(draw, image):
    scores, label = draw(2, 3, 4, 5)
    label[..., 2:] = 255
    soft = draw(2, 3, 4, 5)[0].softmax(1).requires_grad_()
    free = (label == 255).to(soft).reshape(2, 1, 4, 5)
    inside = torch.ones_like(free)
    inside[..., 0] = 0
    found = Energy(image, scores.softmax(1), free, inside, (0.3, 6.0, 40.0))
    own = -(scores.softmax(1) * soft).sum(1, keepdim=True).log() * free
    pairs = potts_loss(image, soft, inside, "collision_divergence", 40.0, 4, "sum")
    value, slope = found.at(soft.detach())
    (expected,) = torch.autograd.grad(0.3 * own.sum() + 6 * pairs, soft)
    torch.testing.assert_close(value.sum(), 0.3 * own.sum() + 6 * pairs)
    torch.testing.assert_close(slope, expected)


def test_images_do_not_mind_each_other(draw, image):
    scores, label = draw(2, 3, 4, 5)
    both = soft_pseudo_label(image, scores.softmax(1), label, image_std=30)
    alone = soft_pseudo_label(image[1:], scores[1:].softmax(1), label[1:], image_std=30)
    assert torch.allclose(both[1:], alone, rtol=0, atol=1e-12)


def test_labelled_pixels_stay_and_padding_is_0(draw, image):
    scores, label = draw(2, 3, 4, 5)
    mask = torch.ones(2, 4, 5)
    mask[:, 3:] = 0
    soft = soft_pseudo_label(image, scores.requires_grad_().softmax(1), label, mask)
    assert not soft.requires_grad and not soft[:, :, 3:].any()
    known = (label != 255)[:, :3]
    top = soft[:, :, :3]
    assert torch.allclose(top.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert torch.equal(top.argmax(1)[known], label[:, :3][known]) and (top.amax(1)[known] == 1).all()
    assert (top.amax(1)[~known] < 1).all()


def test_without_iterations_or_weights_it_is_the_prediction(draw, image):
    scores, label = draw(1, 3, 4, 5)
    prob, free = scores.softmax(1), (label == 255).unsqueeze(1).expand(scores.shape)
    for settings in ({"iterations": 0}, {"eta": 0, "smoothness": 0}):
        soft = soft_pseudo_label(None, prob, label, **settings)
        assert torch.allclose(soft[free], prob[free])


@pytest.mark.proves("CollisionCrossEntropyLoss", gradient=True)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 3), (1, 150, 2, 2)])
def test_formula_and_gradient(draw, shape):
    scores, label = draw(*shape)
    soft = scores.cos().softmax(1)
    soft[..., 0] = 0
    prob, total, count = scores.softmax(1), 0.0, 0
    for n, y, x in (label == 255).nonzero().tolist():
        if x:
            total, count = total - (prob[n, :, y, x] @ soft[n, :, y, x]).log().item(), count + 1
    found = collision_cross_entropy_loss(prob, soft, label == 255)
    assert found.item() == pytest.approx(total / max(count, 1), rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: collision_cross_entropy_loss(x.softmax(1), soft), scores.requires_grad_(), fast_mode=True
    )


def test_of_one_hot_labels_it_is_the_cross_entropy(draw):
    scores, label = draw(2, 3, 4, 5)
    soft = soft_pseudo_label(None, scores.softmax(1), label)
    expected = torch.nn.functional.cross_entropy(scores, label, ignore_index=255)
    assert torch.allclose(collision_cross_entropy_loss(scores.softmax(1), soft, label != 255), expected)


def test_half_types_and_autocast(draw, bears):
    scores, label = draw(2, 5, 4, 6)
    soft = scores.cos().softmax(1)
    bears(lambda p: collision_cross_entropy_loss(p, soft, label == 255), scores.softmax(1))


def test_nothing_to_count_is_0_with_a_gradient(draw):
    scores, _ = draw(2, 3, 4, 5)
    loss = CollisionCrossEntropyLoss()(scores.requires_grad_().softmax(1), torch.zeros(2, 3, 4, 5))
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


def test_layers_read_their_messages(build, draw, image):
    scores, label = draw(2, 3, 4, 5)
    prob, image = scores.softmax(1).float(), image.float() + 1
    image[..., 4:] = 0
    mask = torch.ones(2, 4, 5)
    mask[..., 4:] = 0
    inputs = {"data": image, "p": prob.requires_grad_(), "label": label.unsqueeze(1).float()}
    fields = "soft_pseudo_label_param { eta: 0.5 smoothness: 2 image_std: 30 iterations: 9 }"
    for given, module in (("", SoftPseudoLabel()), (fields, SoftPseudoLabel(0.5, 2, 30, 9))):
        soft = module(image, prob, label, mask)
        for bottom, counted in (
            ("", None),
            ('bottom: "label" loss_param { ignore_label: 255 }', label == 255),
        ):
            blobs = build(NET % (given, bottom)).forward_blobs(**inputs)
            assert torch.equal(blobs["y"], soft) and not blobs["y"].requires_grad
            assert torch.equal(blobs["loss"], collision_cross_entropy_loss(prob, soft, counted))


@pytest.mark.parametrize(
    ("fields", "bottom", "words"),
    [
        ("soft_pseudo_label_param { eta: -1 }", "", "eta is out of range"),
        ("", 'bottom: "label"', "which label stands for none"),
    ],
)
def test_layers_that_are_refused(build, fields, bottom, words):
    with pytest.raises(NetError, match=words):
        build(NET % (fields, bottom))


def test_what_is_refused():
    prob = torch.full((1, 2, 3, 4), 0.5)
    with pytest.raises(NetError, match="needs an image"):
        soft_pseudo_label(None, prob, torch.zeros(1, 3, 4), image_std=3)
    with pytest.raises(NetError, match="needs soft labels"):
        collision_cross_entropy_loss(prob, prob[:, :1])
