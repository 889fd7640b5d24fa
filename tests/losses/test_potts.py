"""The Potts loss: recorded cases of the six relaxations, their formulas, and what no input may break."""

from __future__ import annotations

import json
import math

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import PottsLoss, potts_loss
from rlossctl.losses.potts import RELAXATIONS, directed

NET = """input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "p" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "m" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
layer { name: "l" type: "PottsLoss" bottom: "data" bottom: "p" %s top: "loss" loss_weight: 1 %s }
"""
SHAPES = [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (2, 21, 5, 1), (1, 150, 2, 2), (1, 3, 1, 1)]
OFFSETS = {4: [(0, 1), (1, 0)], 8: [(0, 1), (1, 0), (1, 1), (1, -1)]}


def unpacked(case):
    """Image, mask and sigma of a recorded case, and the sum of its weights."""
    image, roi = torch.from_numpy(case["in/image"]).double(), torch.from_numpy(case["in/roi"])
    params = json.loads(str(case["params"]))
    return image, roi, params["sigma"] or 0.0, params, float(case["out/weight_sum"])


@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
@pytest.mark.parametrize(
    "name",
    [
        "eight_neighbours",
        "four_neighbours",
        "four_neighbours_unweighted",
        "one_column",
        "one_row",
        "roi",
        "two_classes",
    ],
)
def test_recorded(recorded, reproduces, name, relaxation):
    case = recorded("potts", name)
    image, roi, sigma, params, weights = unpacked(case)
    key = "normalised_quadratic" if relaxation == "normalized" else relaxation
    value, slope = case[f"out/{key}"], case[f"grad/{key}_logits"]
    settings = relaxation, sigma, int(params["neighbourhood"])
    for reduction, divisor in (("sum", 1), ("weights", weights)):
        loss = PottsLoss(*settings, reduction=reduction)
        reproduces(
            lambda x, loss=loss: loss(image, x.softmax(1), roi),
            case["in/logits"],
            value / divisor,
            slope / divisor,
        )


@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
def test_recorded_window(recorded, reproduces, relaxation):
    """Pairs farther apart, which the layer does not take, by the same sums."""
    case = recorded("potts", "window_radius_3")
    image, roi, sigma, params, _ = unpacked(case)
    key = "normalised_quadratic" if relaxation == "normalized" else relaxation

    def loss(x):
        colours, mask = image.to(x) / (sigma * math.sqrt(2)), roi.to(x).unsqueeze(1)
        parts = (
            directed(RELAXATIONS[relaxation], x.softmax(1), colours, mask, tuple(offset))[0]
            for offset in params["offsets"]
        )
        return sum(parts, x.new_zeros(()))

    reproduces(loss, case["in/logits"], case[f"out/{key}"], case[f"grad/{key}_logits"])


def disagreement(p, q, relaxation):
    product = sum(a * b for a, b in zip(p, q, strict=True))
    cosine = product / math.sqrt(sum(a * a for a in p) * sum(b * b for b in q))
    half = sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / 2
    return {
        "bilinear": lambda: 1 - product,
        "quadratic": lambda: half,
        "normalized": lambda: 1 - cosine,
        "collision_cross_entropy": lambda: -math.log(max(product, 1e-6)),
        "collision_divergence": lambda: -math.log(max(cosine, 1e-6)),
        "log_quadratic": lambda: -math.log(max(1 - half, 1e-6)),
    }[relaxation]()


def by_pairs(image, prob, mask, relaxation, sigma, neighbours):
    """Mean over the pairs of each direction, added up."""
    images, _, height, width = prob.shape
    value = 0.0
    for dy, dx in OFFSETS[neighbours]:
        total, count = 0.0, 0.0
        for n in range(images):
            for y in range(height):
                for x in range(width):
                    v, u = y + dy, x + dx
                    if not (v < height and 0 <= u < width and mask[n, y, x] * mask[n, v, u]):
                        continue
                    contrast = float((image[n, :, y, x] - image[n, :, v, u]).square().sum())
                    weight = math.exp(-contrast / (2 * sigma**2)) if sigma else 1
                    ends = prob[n, :, y, x].tolist(), prob[n, :, v, u].tolist()
                    total += weight * disagreement(*ends, relaxation)
                    count += 1
        value += total / count if count else 0
    return value


@pytest.mark.slow
@pytest.mark.proves("PottsLoss", gradient=True)
@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(draw, relaxation, shape):
    scores, label = draw(*shape)
    mask = (label != 255).double()
    image = torch.randn(shape[0], 3, *shape[2:], generator=torch.Generator().manual_seed(2)).double()
    for sigma, neighbours in ((0.0, 4), (0.7, 8)):
        settings = relaxation, sigma, neighbours
        expected = by_pairs(image, scores.softmax(1), mask, *settings)
        found = potts_loss(image, scores.softmax(1), mask, *settings)
        assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: potts_loss(image, x.softmax(1), mask, *settings), scores.requires_grad_()
    )


@pytest.mark.parametrize("relaxation", ["bilinear", "quadratic", "normalized"])
def test_of_a_labelling_it_counts_the_borders(relaxation):
    prob = torch.zeros(1, 2, 3, 4)
    prob[:, 0, :, :2] = prob[:, 1, :, 2:] = 1  # a border of three edges between two columns
    assert potts_loss(None, prob, None, relaxation, reduction="sum").item() == 3
    assert potts_loss(None, prob, None, relaxation).item() == pytest.approx(3 / 9 + 0 / 8)
    assert potts_loss(None, prob, None, relaxation, 0, 8, "sum").item() == 3 + 4


@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
def test_opposite_certainties_give_no_nan(relaxation):
    x = torch.tensor([[200.0, -200.0], [-200.0, 200.0]]).view(1, 2, 1, 2).requires_grad_()
    loss = potts_loss(None, x.softmax(1), None, relaxation)
    loss.backward()
    assert loss.item() in (1.0, pytest.approx(-math.log(1e-6))) and torch.isfinite(x.grad).all()
    zeros = torch.zeros(1, 2, 1, 2, requires_grad=True)
    potts_loss(None, zeros, None, relaxation).backward()
    assert torch.isfinite(zeros.grad).all()


@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
@pytest.mark.parametrize("reduction", ["edges", "weights", "sum"])
def test_empty_masks_are_zero_with_a_gradient(draw, relaxation, reduction):
    scores, _ = draw(2, 3, 4, 5)
    loss = potts_loss(
        torch.ones(2, 3, 4, 5),
        scores.requires_grad_().softmax(1),
        torch.zeros(2, 4, 5),
        relaxation,
        0.5,
        8,
        reduction,
    )
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
def test_half_types_and_autocast(draw, bears, relaxation):
    scores, label = draw(2, 5, 4, 6)
    image = torch.randn(2, 3, 4, 6)
    bears(lambda p: potts_loss(image, p, label != 255, relaxation, 0.5), scores.softmax(1))


def test_the_image_gets_no_gradient_and_stays(draw):
    scores, _ = draw(1, 3, 4, 5)
    image = torch.randn(1, 3, 4, 5, requires_grad=True)
    before = image.detach().clone()
    potts_loss(image, scores.requires_grad_().softmax(1), None, "quadratic", 0.5).backward()
    assert image.grad is None and scores.grad.any() and torch.equal(image, before)


def test_layer_reads_its_message(build, draw):
    prob, label = draw(2, 3, 4, 5)
    prob, image = prob.softmax(1).float(), torch.randn(2, 3, 4, 5)
    image[:, :, 3:] = 0
    inside, mask = torch.ones(2, 4, 5), (label != 255).float()
    inside[:, 3:] = 0
    inputs = {"data": image, "p": prob, "m": mask.unsqueeze(1)}
    found = build(NET % ("", ""))(**inputs)["loss"]
    assert torch.equal(found, potts_loss(None, prob, inside))
    for name in RELAXATIONS:
        fields = f"relaxation: {name.upper()} image_std: 0.5 neighbours: 8 reduction: WEIGHTS"
        found = build(NET % ('bottom: "m"', f"potts_loss_param {{ {fields} }}"))(**inputs)["loss"]
        assert torch.equal(found, potts_loss(image, prob, mask, name, 0.5, 8, "weights"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("potts_loss_param { neighbours: 6 }", "no such neighbourhood"),
        ("potts_loss_param { image_std: -1 }", "image_std is out of range"),
        ("propagate_down: true propagate_down: true", "no gradient to the image"),
    ],
)
def test_layers_that_are_refused(build, fields, words):
    with pytest.raises(NetError, match=f"'l' \\(PottsLoss\\): .*{words}"):
        build(NET % ("", fields))


def test_what_is_refused(build):
    prob = torch.ones(1, 2, 3, 3)
    with pytest.raises(NetError, match="relaxation"):
        potts_loss(None, prob, None, "cubic")
    with pytest.raises(NetError, match="contrast weight needs an image"):
        potts_loss(None, prob, None, image_std=0.5)
    with pytest.raises(NetError, match="equal batch, height and width"):
        potts_loss(torch.ones(1, 3, 3, 4), prob, None, image_std=0.5)
    text = (NET % ("", "")).replace("dim: 4 dim: 5", "dim: 8 dim: 10", 1)
    with pytest.raises(NetError, match="'l' \\(PottsLoss\\)"):
        build(text)
