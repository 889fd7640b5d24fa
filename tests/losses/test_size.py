"""The size loss: recorded penalties and bounds, its formula, and what no input may break."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import SizeBounds, SizeLoss, size_loss

NET = """input: "p" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "t" input_shape { dim: 2 dim: %d dim: %d dim: %d }
input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
layer { name: "l" type: "SizeLoss" bottom: "p" %s top: "loss" loss_weight: 1 %s }
"""
LABELS = (1, 4, 5)
SHAPES = [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (2, 21, 5, 1), (1, 150, 2, 2)]


@pytest.mark.parametrize(
    "name",
    [
        "from_box",
        "from_precise_percentage_10",
        "from_precise_upper_percentage_10",
        "from_tag",
        "one_row",
        "size_inside",
        "size_too_big",
        "size_too_small",
        "size_two_class_net",
        "size_two_classes_mixed",
    ],
)
def test_recorded(recorded, reproduces, name):
    case = recorded("size", name)
    classes = json.loads(str(case["params"]))["idc"]
    low, high = (torch.from_numpy(case["in/bounds"])[:, classes, 0, side].double() for side in (0, 1))
    value = case["out/loss"]
    reproduces(lambda p: size_loss(p, classes, low, high), case["in/prob"], value, case["grad/prob"], 1e-6)
    reproduces(
        lambda x: size_loss(x.softmax(1), classes, low, high), case["in/logits"], value, case["grad/logits"]
    )


@pytest.mark.parametrize("name", ["batch_3d_margin_0", "batch_3d_margin_20"])
def test_recorded_volumes(recorded, reproduces, name):
    """The slices of a volume are one tall image; the original divides by the area of one slice."""
    case = recorded("size", name)
    params = json.loads(str(case["params"]))
    classes, margin = params["idc"], params["batch_margin"]
    total = torch.from_numpy(case["in/bounds"])[:, classes, 0, 1].double().sum(0, keepdim=True)

    def loss(p):
        tall = p.transpose(0, 1).flatten(1, 2).unsqueeze(0)
        return len(p) * size_loss(tall, classes, total * (1 - margin), total * (1 + margin))

    reproduces(lambda x: loss(x.softmax(1)), case["in/logits"], case["out/loss"], case["grad/logits"])


def test_recorded_bounds(recorded):
    case = recorded("size", "bounds_providers")
    prob = torch.full((3, 4, 24, 20), 0.25, dtype=torch.float64)
    masks = {
        kind: torch.from_numpy(case[f"in/{kind}_onehot"]) for kind in ("target", "weak")
    }  # boxes overlap: they are counted one class at a time
    boxes, everything = torch.from_numpy(case["in/box_onehot"]), torch.ones(3, 1, 24, 20).double()

    def check(bounds, label, expected):
        low, high = bounds.of(prob, label, everything, 255)
        recorded_bounds = case[f"out/{expected}"][:, list(bounds.classes), 0]
        np.testing.assert_allclose(torch.stack([low, high], -1).numpy(), recorded_bounds, rtol=1e-6)

    full, weak = (masks[kind].argmax(1) for kind in ("target", "weak"))
    check(SizeBounds([3], [60], [200], "tag", "pixels"), weak, "tag")
    tags = masks["weak"].flatten(2).any(2)
    check(SizeBounds([3], [60], [200], "tag", "pixels"), tags, "tag")
    check(SizeBounds([3], [60], [200], "tag", "pixels"), tags[:, :, None, None], "tag")
    for source in ("precise", "precise_upper"):
        check(SizeBounds(range(4), source=source), full, f"{source}_percentage_10")
        for pixels in (15, 1000):
            bounds = SizeBounds(range(4), source=source, unit="pixels", margin=pixels)
            check(bounds, full, f"{source}_abs_{pixels}")
    for c in range(1, 4):
        check(SizeBounds([c], [0.25], [0.9], "box"), torch.where(boxes[:, c] > 0, c, 0), "box")


def by_image(prob, classes, low, high, mask, normalize):
    total, count = 0.0, 0
    for n in range(len(prob)):
        area = float(mask[n].sum())
        count += area > 0
        for k, c in enumerate(classes):
            size = float((prob[n, c] * mask[n]).sum())
            excess = max(size - float(high[n, k]), float(low[n, k]) - size, 0)
            total += excess**2 / area ** (2 if normalize == "area2" else 1) if area else 0
    return total / (count * len(classes))


@pytest.mark.proves("SizeLoss", gradient=True)
@pytest.mark.parametrize("normalize", ["area", "area2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(draw, normalize, shape):
    scores, label = draw(*shape)
    mask = (label != 255).double()
    if len(mask) > 1:
        mask[1] = 0  # an image without a pixel that counts
    classes = sorted({0, shape[1] - 1})
    size = (scores.softmax(1) * mask.unsqueeze(1)).sum((2, 3))[:, classes]
    for low, high in ((size * 1.2, size * 1.4), (size * 0.2, size * 0.4), (size * 0.5, size * 2)):
        expected = by_image(scores.softmax(1), classes, low, high, mask, normalize)
        found = size_loss(scores.softmax(1), classes, low, high, mask, normalize)
        assert found.item() == pytest.approx(expected, rel=1e-12)
    low = size * 1.2
    assert torch.autograd.gradcheck(
        lambda x: size_loss(x.softmax(1), classes, low, low, mask, normalize), scores.requires_grad_()
    )


def psi(z, t):
    if z <= -1 / t**2:
        return -math.log(-z) / t
    return t * z - math.log(1 / t**2) / t + 1 / t


@pytest.mark.parametrize("t", [1, 5, 50])
@pytest.mark.parametrize("bounds", [(0.1, 0.4), (0.6, 0.9), (0.0, 0.3), (0.6, math.inf), (0.0, 1.0)])
def test_log_barrier(t, bounds):
    prob = torch.full((1, 2, 4, 5), 0.5, dtype=torch.float64)
    low, high = (torch.tensor([[bound * 20.0]]) for bound in bounds)
    expected = psi(0.5 - bounds[1], t) if bounds[1] < 1 else 0
    expected += psi(bounds[0] - 0.5, t) if bounds[0] > 0 else 0
    found = size_loss(prob, [1], low, high, barrier="log", log_t=t)
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-12) and found >= 0
    assert torch.autograd.gradcheck(
        lambda p: size_loss(p, [1], low, high, barrier="log", log_t=t), prob.requires_grad_()
    )


def test_fractions_are_of_the_pixels_that_count():
    prob = torch.full((1, 2, 4, 5), 0.5)
    mask = torch.ones(1, 4, 5)
    mask[:, 2:] = 0  # 10 pixels count, 5 of them are class 1
    loss = SizeLoss(SizeBounds([1], [0.1], [0.3]))(prob, mask=mask)
    assert loss.item() == pytest.approx((5 - 3) ** 2 / 10)
    squared = SizeLoss(SizeBounds([1], [0.1], [0.3]), normalize="area2")(prob, mask=mask)
    assert squared.item() == pytest.approx((0.5 - 0.3) ** 2)


def test_precise_sizes_leave_out_ignored_pixels():
    prob = torch.full((1, 2, 4, 5), 0.5)
    label = torch.zeros(1, 4, 5)
    label[:, 0], label[:, 2:] = 1, 255  # of 10 pixels 5 are class 1
    assert SizeLoss(SizeBounds([1], source="precise", margin=0.1))(prob, label).item() == 0
    label[:, 1] = 1
    assert SizeLoss(SizeBounds([1], source="precise", margin=0.1))(prob, label).item() == pytest.approx(
        (9 - 5) ** 2 / 10
    )


@pytest.mark.parametrize("barrier", ["quadratic", "log"])
def test_empty_masks_are_zero_with_a_gradient(draw, barrier):
    scores, label = draw(2, 3, 4, 5)
    scores.requires_grad_()
    for source in ("constant", "tag", "precise", "box"):
        bounds = SizeBounds([1, 2], [0.3, 0.1], [0.4, math.inf], source)
        scores.grad = None
        loss = SizeLoss(bounds, barrier=barrier)(scores.softmax(1), label, torch.zeros(2, 4, 5))
        loss.backward()
        assert loss.item() == 0 and not scores.grad.any()


@pytest.mark.parametrize("barrier", ["quadratic", "log"])
def test_half_types_and_autocast(draw, bears, barrier):
    scores, label = draw(2, 5, 4, 6)
    loss = SizeLoss(SizeBounds([1, 2], [0.5, 0.1], [0.6, 0.15], "tag"), barrier=barrier)
    bears(lambda p: loss(p, label), scores.softmax(1))


def test_layer_with_constants(build, draw):
    prob = draw(2, 3, 4, 5)[0].softmax(1).float()
    data = torch.randn(2, 3, 4, 5)
    data[:, :, 3:] = 0
    mask = torch.ones(2, 4, 5)
    mask[:, 3:] = 0
    fields = "size_loss_param { bound { class: 1 low: 0.5 high: 0.6 } bound { class: 0 high: 0.1 } "
    inputs = {"p": prob, "t": torch.zeros(2, 1, 4, 5), "data": data}
    bounds = SizeBounds([1, 0], [0.5, 0], np.float32([0.6, 0.1]).tolist())  # as the message holds them
    found = build(NET % (*LABELS, "", fields + "}"))(**inputs)["loss"]
    assert torch.equal(found, SizeLoss(bounds)(prob))
    found = build(NET % (*LABELS, 'bottom: "data"', fields + "normalize: AREA2 }"))(**inputs)["loss"]
    assert torch.equal(found, SizeLoss(bounds, "area2")(prob, mask=mask))
    found = build(NET % (*LABELS, 'bottom: "t" bottom: "data"', fields + "barrier: LOG log_t: 3 }"))
    assert torch.equal(found(**inputs)["loss"], SizeLoss(bounds, barrier="log", log_t=3)(prob, mask=mask))


@pytest.mark.parametrize("source", ["TAG", "PRECISE", "PRECISE_UPPER", "BOX"])
def test_layer_with_labels(build, draw, source):
    scores, label = draw(2, 3, 4, 5)
    prob = scores.softmax(1).float()
    fields = (
        f"loss_param {{ ignore_label: 255 }} size_loss_param {{ source: {source} margin: 0.25 unit: PIXELS "
    )
    net = build(NET % (*LABELS, 'bottom: "t"', fields + "bound { class: 2 low: 2 high: 3 } }"))
    found = net(p=prob, t=label.unsqueeze(1).float(), data=torch.ones(2, 3, 4, 5))["loss"]
    bounds = SizeBounds([2], [2], [3], source.lower(), "pixels", 0.25)
    assert torch.equal(found, SizeLoss(bounds)(prob, label)) and found > 0


def test_layer_with_tags(build, draw):
    prob = draw(2, 3, 4, 5)[0].softmax(1).float()
    tags = torch.tensor([[1, 0, 1], [1, 1, 0]]).view(2, 3, 1, 1)
    fields = "size_loss_param { source: TAG bound { class: 1 low: 0.9 } }"
    inputs = {"p": prob, "t": tags.float(), "data": torch.ones(2, 3, 4, 5)}
    found = build(NET % (3, 1, 1, 'bottom: "t"', fields))(**inputs)["loss"]
    absent, present = prob[0, 1].sum() ** 2 / 20, (18 - prob[1, 1].sum()) ** 2 / 20
    torch.testing.assert_close(found, (absent + present) / 2)


@pytest.mark.parametrize(
    ("bottoms", "fields", "words"),
    [
        ("", "", "constrains no class"),
        ("", "loss_param { normalize: true }", "does not go by all"),
        ("", "size_loss_param { bound { class: 3 high: 1 } }", "class that does not exist"),
        ("", "size_loss_param { bound { class: 1 low: 0.5 high: 0.1 } }", "bounds out of order"),
        ("", "size_loss_param { bound { class: 1 } source: TAG }", "needs a second bottom"),
        ("", "size_loss_param { bound { class: 1 } log_t: 0 }", "log_t is out of range"),
        ("", "size_loss_param { bound { class: 1 } margin: -1 }", "margin is out of range"),
    ],
)
def test_layers_that_are_refused(build, bottoms, fields, words):
    with pytest.raises(NetError, match=f"'l' \\(SizeLoss\\): .*{words}"):
        build(NET % (*LABELS, bottoms, fields))


def test_what_is_refused():
    prob = torch.ones(1, 2, 3, 3)
    with pytest.raises(NetError, match="source of bounds"):
        SizeBounds([1], source="guess")
    with pytest.raises(NetError, match="once per class"):
        SizeBounds([1, 2], [0.1])
    with pytest.raises(NetError, match="tag needs labels"):
        SizeLoss(SizeBounds([1], source="tag"))(prob)
    with pytest.raises(NetError, match="normalization"):
        SizeLoss(SizeBounds([1]), normalize="none")
