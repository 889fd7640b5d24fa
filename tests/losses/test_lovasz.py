"""The Lovasz losses: recorded cases, the definition of the extension, and what no input may break."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import LovaszLoss, lovasz_loss

NET = """input: "x" input_shape { dim: 2 dim: %d dim: 3 dim: 4 }
input: "t" input_shape { dim: 2 dim: 1 dim: 3 dim: 4 }
layer { name: "l" type: "LovaszLoss" bottom: "x" bottom: "t" top: "loss" %s }
"""


@pytest.mark.parametrize(
    "name",
    [
        "lovasz_absent_class",
        "lovasz_all_classes",
        "lovasz_all_ignored_fixed",
        "lovasz_all_valid",
        "lovasz_ignore_21",
        "lovasz_image_ignored",
        "lovasz_one_class_present",
        "lovasz_one_row",
        "lovasz_one_valid_fixed",
        "lovasz_per_image",
        "lovasz_hinge_all_valid",
        "lovasz_hinge_batch",
        "lovasz_hinge_image_void",
        "lovasz_hinge_per_image",
    ],
)
def test_recorded(recorded, reproduces, name):
    case = recorded("segmentation", name)
    label, params = torch.from_numpy(case["in/label"]), json.loads(str(case["params"]))
    hinge = "hinge" in name
    loss = LovaszLoss(
        params.get("classes", "present"), params.get("per_image", False), "hinge" if hinge else "softmax"
    )
    reproduces(
        lambda x: loss(x.unsqueeze(1) if hinge else x, label),
        case["in/logits"],
        case["out/loss"],
        case["grad/logits"],
    )


def extension(errors: list[float], own: list[bool]) -> float:
    """Lovasz's own form: the integral over t of 1 - IoU if the positions with an error above t are wrong."""
    value = 0.0
    levels = sorted({0.0, *errors})
    for low, high in itertools.pairwise(levels):
        wrong = {i for i, error in enumerate(errors) if error > low}
        truth = {i for i, one in enumerate(own) if one}
        value += (high - low) * len(wrong) / len(truth | wrong)
    return value


def by_definition(scores, label, classes, per_image):
    groups = list(zip(scores.softmax(1), label, strict=True))
    if not per_image:
        groups = [
            (torch.cat([p for p, _ in groups], 1), torch.cat([one for _, one in groups], 0)),
        ]
    losses = []
    for p, one in groups:
        valid = one != 255
        parts = []
        for c in range(scores.shape[1]):
            own = one[valid] == c
            if own.any() or classes == "all":
                errors = (own.double() - p[c][valid]).abs()
                parts.append(extension(errors.tolist(), own.tolist()))
        losses.append(sum(parts) / max(len(parts), 1))
    return sum(losses) / len(losses)


@pytest.mark.slow
@pytest.mark.proves("LovaszLoss", gradient=True)
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (2, 21, 5, 1), (1, 150, 2, 2)])
def test_formula(draw, classes, per_image, shape):
    scores, label = draw(*shape)
    expected = by_definition(scores, label, classes, per_image)
    assert lovasz_loss(scores, label, classes, per_image).item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(
        lambda x: lovasz_loss(x, label, classes, per_image), scores.requires_grad_()
    )


@pytest.mark.parametrize("per_image", [False, True])
def test_hinge_formula(draw, per_image):
    scores, label = draw(2, 1, 4, 5)
    label = torch.where(scores[:, 0].roll(1, 2) > 0, 1, label)
    groups = list(zip(scores[:, 0], label, strict=True)) if per_image else [(scores[:, 0], label)]
    values = []
    for z, one in groups:
        own = one[one != 255] == 1
        margin = torch.where(own, z[one != 255], -z[one != 255])
        values.append(extension((1 - margin).clamp(min=0).tolist(), own.tolist()))
    found = lovasz_loss(scores, label, per_image=per_image, form="hinge")
    assert found.item() == pytest.approx(sum(values) / len(values), rel=1e-10)
    assert torch.autograd.gradcheck(
        lambda x: lovasz_loss(x, label, per_image=per_image, form="hinge"), scores.requires_grad_()
    )


def test_of_a_hard_prediction_it_is_one_minus_the_iou():
    label = torch.tensor([[[0, 0, 0, 1, 1, 2]]])
    guess = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    scores = 1e4 * torch.nn.functional.one_hot(guess, 3).movedim(-1, 1).double()
    ious = (2 / 4, 2 / 3, 0 / 1)
    assert lovasz_loss(scores, label).item() == pytest.approx(1 - sum(ious) / 3, rel=1e-12)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("form", ["softmax", "hinge"])
@pytest.mark.parametrize("per_image", [False, True])
def test_nothing_labelled_is_zero_with_a_gradient(draw, classes, form, per_image):
    scores, label = draw(2, 1 if form == "hinge" else 3, 4, 5)
    loss = lovasz_loss(scores.requires_grad_(), torch.full_like(label, 255), classes, per_image, form)
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


@pytest.mark.parametrize("per_image", [False, True])
def test_half_types_and_autocast(draw, bears, per_image):
    scores, label = draw(2, 5, 4, 6)
    bears(lambda x: lovasz_loss(x, label, per_image=per_image), scores)


def test_layer_reads_its_message(build, draw):
    scores, label = draw(2, 3, 3, 4)
    ignore = "loss_param { ignore_label: 255 } "
    inputs = {"x": scores.float(), "t": label.unsqueeze(1).float()}
    found = build(NET % (3, ignore + "lovasz_loss_param { classes: ALL per_image: true }"))(**inputs)["loss"]
    assert torch.equal(found, lovasz_loss(scores.float(), label, "all", True))
    assert torch.equal(build(NET % (3, ignore))(**inputs)["loss"], lovasz_loss(scores.float(), label))
    hinge = build(NET % (1, "lovasz_loss_param { form: HINGE }"))
    inputs = {"x": scores[:, :1].float(), "t": (label > 0).unsqueeze(1).float()}
    assert torch.equal(hinge(**inputs)["loss"], lovasz_loss(inputs["x"], inputs["t"], form="hinge"))


def test_what_is_refused(build):
    with pytest.raises(NetError, match="'l' \\(LovaszLoss\\): the hinge form takes one channel"):
        build(NET % (3, "lovasz_loss_param { form: HINGE }"))
    with pytest.raises(NetError, match="choice of classes"):
        lovasz_loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), classes="some")
    with pytest.raises(NetError, match="0 to 1"):
        lovasz_loss(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1), 2), form="hinge")
