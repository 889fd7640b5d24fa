"""The normalised-cut loss: recorded cases, its formula with a matrix, and what no input may break."""

from __future__ import annotations

import json

import pytest
import torch

from rlossctl.bilateral import bilateral_filter, exact, twin
from rlossctl.errors import NetError
from rlossctl.losses import NormalizedCutLoss, normalized_cut_loss

NET = """input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "p" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "m" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
layer { name: "l" type: "NormalizedCutLoss" bottom: "data" bottom: "p" %s top: "loss" loss_weight: 1 %s }
"""
SHAPES = [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (2, 21, 5, 1), (1, 150, 2, 2), (1, 3, 1, 1)]


@pytest.fixture
def photos():
    """photos(N, h, w): float64 images 0..255 of soft colours, so that pairs weigh something."""

    def make(images, height, width):
        generator = torch.Generator().manual_seed(4)
        return 100 + 20 * torch.rand(images, 3, height, width, generator=generator, dtype=torch.float64)

    return make


@pytest.mark.parametrize(
    "name",
    ["c21", "class_without_mass", "default_15_40", "grid_32", "hard_labels", "narrow_10_5", "one_row", "roi"],
)
def test_recorded(recorded, name):
    """The exact filter leaves out pairs that add up to 1e-12 (float32: 1e-6) of a channel: hence 1e-9."""
    case = recorded("ncut", name)
    params = json.loads(str(case["params"]))
    loss = NormalizedCutLoss(params["sigma_xy"], params["sigma_rgb"], "exact")
    image, roi = torch.from_numpy(case["in/image_bgr_or_rgb_0_255"]), torch.from_numpy(case["in/roi"])
    start = "in/logits" if "in/logits" in case else "in/prob"
    slope = torch.from_numpy(case["grad/logits" if "in/logits" in case else "grad/prob"])
    for dtype, close, steep in ((torch.float64, 1e-9, 1e-6), (torch.float32, 1e-5, 1e-4)):
        x = torch.from_numpy(case[start]).to(dtype).requires_grad_()
        found = loss(image, x.softmax(1) if start == "in/logits" else x, roi)
        found.backward()
        assert found.item() == pytest.approx(float(case["out/loss"]), rel=close)
        assert (x.grad - slope).abs().max() <= steep * slope.abs().max()


def operator(image, xy, rgb, mode):
    """The filter as a matrix for each image, from its action on every unit vector: [N, P, P]."""
    pixels = image[0, 0].numel()
    units = (
        torch.eye(pixels, dtype=image.dtype).view(1, pixels, *image.shape[2:]).expand(len(image), -1, -1, -1)
    )
    return bilateral_filter(units, image, xy, rgb, mode).flatten(2)


def by_matrix(image, seg, mask, xy, rgb, mode):
    value = 0.0
    for matrix, planes, keep in zip(
        operator(image, xy, rgb, mode), seg.flatten(2), mask.flatten(1), strict=True
    ):
        kept = matrix[keep > 0][:, keep > 0]
        for plane in planes[:, keep > 0]:
            mass = kept.sum(1) @ plane
            if mass > 1e-6:
                value += float(plane @ kept @ (1 - plane) / mass)
    return value / len(image)


@pytest.mark.proves("NormalizedCutLoss", gradient=True)
@pytest.mark.parametrize("mode", ["symmetric", "exact"])
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(draw, photos, mode, shape):
    scores, label = draw(*shape)
    image, mask = photos(len(scores), *shape[2:]), (label != 255).double()
    found = normalized_cut_loss(image, scores.softmax(1), mask, 3, 15, mode)
    expected = by_matrix(image, scores.softmax(1), mask, 3, 15, mode)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert torch.autograd.gradcheck(
        lambda x: normalized_cut_loss(image, x.softmax(1), mask, 3, 15, mode),
        scores.requires_grad_(),
        fast_mode=True,
    )


def test_lattice_is_near_the_exact_value(draw, photos):
    scores, _ = draw(2, 4, 12, 13)
    image = photos(2, 12, 13)
    lattice, exactly = (
        normalized_cut_loss(image, scores.softmax(1), None, 5, 15, mode) for mode in ("lattice", "exact")
    )
    assert lattice.item() == pytest.approx(exactly.item(), rel=0.02) and lattice != exactly


def test_of_a_labelling_it_is_the_classical_value(photos):
    image = photos(1, 3, 4)
    label = torch.tensor([[0, 0, 1, 1]] * 3)
    seg = torch.stack([label == 0, label == 1]).double().unsqueeze(0)
    (matrix,) = operator(image, 2, 30, "exact")
    first, second = label.flatten() == 0, label.flatten() == 1
    cut = matrix[first][:, second].sum()
    expected = cut / matrix[first].sum() + cut / matrix[second].sum()
    assert normalized_cut_loss(image, seg, None, 2, 30, "exact").item() == pytest.approx(
        expected.item(), rel=1e-9
    )


@pytest.mark.parametrize(("mode", "module"), [("lattice", twin), ("exact", exact)])
def test_filters_once_per_step(draw, photos, monkeypatch, mode, module):
    calls, name = [], f"{mode}_filter"
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: calls.append(given[0].shape) or original(*given))
    scores, _ = draw(2, 3, 4, 5)
    normalized_cut_loss(photos(2, 4, 5), scores.requires_grad_().softmax(1), None, 3, 15, mode).backward()
    assert calls == [(2, 4, 4, 5)]  # [S ; 1]


def test_a_class_without_mass_adds_nothing(photos):
    seg = torch.zeros(1, 3, 4, 5, dtype=torch.float64)
    seg[:, 0] = 1
    loss = normalized_cut_loss(photos(1, 4, 5), seg.requires_grad_(), None, 3, 15)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and not seg.grad[:, 1:].any()


def test_empty_masks_are_zero_with_a_gradient(draw, photos):
    scores, _ = draw(2, 3, 4, 5)
    loss = normalized_cut_loss(photos(2, 4, 5), scores.requires_grad_().softmax(1), torch.zeros(2, 4, 5))
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


def test_masked_pixels_get_no_gradient(draw, photos):
    scores, label = draw(2, 3, 4, 5)
    seg, mask = scores.softmax(1).requires_grad_(), label != 255
    normalized_cut_loss(photos(2, 4, 5), seg, mask, 3, 15).backward()
    gone = ~mask.unsqueeze(1).expand_as(seg)
    assert gone.any() and not seg.grad[gone].any() and seg.grad[~gone].all()


@pytest.mark.parametrize("mode", ["lattice", "symmetric", "exact"])
def test_half_types_and_autocast(draw, photos, bears, mode):
    scores, label = draw(2, 5, 4, 6)
    image = photos(2, 4, 6).float()
    bears(lambda p: normalized_cut_loss(image, p, label != 255, 3, 15, mode), scores.softmax(1))


def test_the_image_gets_no_gradient_and_stays(draw, photos):
    scores, _ = draw(2, 3, 4, 5)
    image = photos(2, 4, 5).requires_grad_()
    before = image.detach().clone()
    normalized_cut_loss(image, scores.requires_grad_().softmax(1)).backward()
    assert image.grad is None and scores.grad.any() and torch.equal(image, before)


def test_second_derivative(draw, photos):
    scores, label = draw(1, 2, 2, 3)
    image = photos(1, 2, 3)
    assert torch.autograd.gradgradcheck(
        lambda x: normalized_cut_loss(image, x.softmax(1), label != 255, 3, 15, "exact"),
        scores.requires_grad_(),
    )


def test_layer_reads_its_message(build, draw, photos):
    scores, label = draw(2, 3, 4, 5)
    prob, image = scores.softmax(1).float(), photos(2, 4, 5).float()
    image[:, :, 3:] = 0
    inside, mask = torch.ones(2, 4, 5), (label != 255).float()
    inside[:, 3:] = 0
    inputs = {"data": image, "p": prob, "m": mask.unsqueeze(1)}
    found = build(NET % ("", ""))(**inputs)["loss"]
    assert torch.equal(found, normalized_cut_loss(image, prob, inside, 40, 15, "symmetric"))
    for mode in ("lattice", "symmetric", "exact"):
        fields = f"normalized_cut_loss_param {{ bi_xy_std: 3 bi_rgb_std: 20 mode: {mode.upper()} }}"
        found = build(NET % ('bottom: "m"', fields))(**inputs)["loss"]
        assert torch.equal(found, normalized_cut_loss(image, prob, mask, 3, 20, mode))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("normalized_cut_loss_param { bi_xy_std: 0 }", "sigma_xy"),
        ("normalized_cut_loss_param { eps: 0 }", "eps is out of range"),
        ("propagate_down: true propagate_down: true", "no gradient to the image"),
    ],
)
def test_layers_that_are_refused(build, fields, words):
    with pytest.raises(NetError, match=f"'l' \\(NormalizedCutLoss\\): .*{words}"):
        build(NET % ("", fields))


def test_what_is_refused():
    with pytest.raises(NetError, match="mode"):
        NormalizedCutLoss(mode="fast")
    with pytest.raises(NetError, match="equal batch, height and width"):
        normalized_cut_loss(torch.ones(1, 3, 3, 4), torch.ones(1, 2, 3, 3))
    with pytest.raises(NetError, match="mask do not fit"):
        normalized_cut_loss(torch.ones(1, 3, 3, 3), torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 3))
