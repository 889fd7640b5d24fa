"""SegmentationScores: values by hand, counting from batch to batch, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.net.layer import ListMetric

NET = """input: "x" input_shape {{ dim: 1 dim: 3 dim: 1 dim: 4 }}
input: "y" input_shape {{ dim: 1 dim: 1 dim: 1 dim: 4 }}
layer {{ name: "l" type: "SegmentationScores" bottom: "x" bottom: "y"
  top: "miou" top: "accuracy" top: "recall" top: "fwiou" top: "mdice" top: "iou" {} }}"""
TOPS = ("miou", "accuracy", "recall", "fwiou", "mdice")


def scores(*classes: int) -> torch.Tensor:
    """Scores [1, 3, 1, W] whose best classes are these."""
    return torch.nn.functional.one_hot(torch.tensor([[classes]]), 3).movedim(-1, 1).float()


def labels(*ids: int) -> torch.Tensor:
    return torch.tensor([[[ids]]], dtype=torch.float32)


@pytest.mark.proves("SegmentationScores")
def test_values_by_hand(build) -> None:
    """Truth 0 0 1 and one ignored pixel against 0 1 1 2: class 2 does not occur."""
    found = build(NET.format(""), phase="TEST")(x=scores(0, 1, 1, 2), y=labels(0, 0, 1, 255))
    values = [found[name].item() for name in TOPS]
    assert values == pytest.approx([1 / 2, 2 / 3, 3 / 4, 1 / 2, 2 / 3], abs=1e-15)
    assert found["iou"].tolist()[:2] == [0.5, 0.5]
    assert math.isnan(found["iou"][2])
    assert found["miou"].dtype == torch.float64


@pytest.mark.parametrize(
    ("fields", "miou"),
    [
        ("absent: ZERO", 1 / 3),
        ("absent: ONE", 2 / 3),
        ("class_of_interest: 2 absent: ONE", 1.0),
        ("ignore_label: 255 ignore_label: 1", 1 / 4),
    ],
)
def test_what_counts(build, fields: str, miou: float) -> None:
    net = build(NET.format(f"segmentation_scores_param {{ {fields} }}"), phase="TEST")
    assert net(x=scores(0, 1, 1, 2), y=labels(0, 0, 1, 255))["miou"].item() == pytest.approx(miou, abs=1e-15)


def test_counts_grow_until_restart(build) -> None:
    net = build(NET.format(""), phase="TEST")
    assert net(x=scores(0, 0, 0, 0), y=labels(0, 0, 1, 1))["accuracy"].item() == 0.5
    assert net(x=scores(1, 1, 1, 1), y=labels(1, 1, 1, 1))["accuracy"].item() == 0.75
    metric = net.layer("l").module
    assert isinstance(metric, ListMetric)
    metric.restart()
    assert net(x=scores(1, 1, 1, 1), y=labels(1, 1, 1, 1))["accuracy"].item() == 1


def test_image_scope_is_the_mean_over_images(build) -> None:
    net = build(NET.format("segmentation_scores_param { scope: IMAGE }"), phase="TEST")
    net(x=scores(0, 0, 0, 0), y=labels(0, 0, 0, 1))
    net(x=scores(0, 0, 0, 0), y=labels(255, 255, 255, 255))
    found = net(x=scores(1, 1, 1, 1), y=labels(1, 255, 255, 255))
    assert found["miou"].item() == pytest.approx((0.75 / 2 + 1) / 2, abs=1e-15)
    assert found["accuracy"].item() == pytest.approx((0.75 + 1) / 2, abs=1e-15)


def test_each_training_batch_stands_alone(build) -> None:
    net = build(NET.format(""), phase="TRAIN")
    net(x=scores(0, 0, 0, 0), y=labels(1, 1, 1, 1))
    assert net(x=scores(1, 1, 1, 1), y=labels(1, 1, 1, 1))["accuracy"].item() == 1


def test_smaller_scores_are_upsampled(build) -> None:
    text = NET.format("").replace(
        'input: "x" input_shape { dim: 1 dim: 3 dim: 1 dim: 4 }',
        'input: "x" input_shape { dim: 1 dim: 3 dim: 1 dim: 2 }',
    )
    found = build(text, phase="TEST")(x=scores(0, 1), y=labels(0, 0, 1, 1))
    assert found["accuracy"].item() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("rule: RANKDICE", "rlossctl eval scores a snapshot with --rule rankdice"),
        ("class_of_interest: 3", "expected: 0 to 2"),
    ],
)
def test_what_is_refused(build, fields: str, words: str) -> None:
    with pytest.raises(NetError) as error:
        build(NET.format(f"segmentation_scores_param {{ {fields} }}"))
    assert words in " ".join(str(error.value).split())


def test_nan_and_foreign_labels_are_refused(build) -> None:
    net = build(NET.format(""), phase="TEST")
    with pytest.raises(NetError, match="NaN"):
        net(x=scores(0, 1, 1, 2) * math.nan, y=labels(0, 0, 1, 1))
    with pytest.raises(NetError, match="label ids out of range"):
        net(x=scores(0, 1, 1, 2), y=labels(0, 0, 1, 7))
