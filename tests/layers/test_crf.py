"""DenseCRF inference against the original's results, and its rules."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError

TOLERANCE = 1e-4
TESTS = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RLOSSCTL_SHARED", TESTS.parent.parent / "shared"))
COPIED = sorted((TESTS / "golden" / "densecrf").glob("dense_crf_*.npz"))
RECORDED = sorted((SHARED / "golden" / "densecrf").glob("dense_crf_*.npz"))
NET = """
input: "s" input_shape { dim: 2 dim: 3 dim: 8 dim: 9 }
input: "d" input_shape { dim: 2 dim: 1 dim: 1 dim: 2 }
input: "i" input_shape { dim: 2 dim: 3 dim: 8 dim: 9 }
layer { name: "crf" type: "DenseCRF" bottom: "s" bottom: "d" %s top: "y" dense_crf_param { %s } }
"""
COLOUR = "bi_xy_std: 20 bi_rgb_std: 10 bi_w: 4"


@pytest.mark.proves("DenseCRF")
@pytest.mark.parametrize("file", [*COPIED, *RECORDED], ids=lambda file: file.stem)
def test_recorded(build, file):
    case = np.load(file)
    net = build(str(case["prototxt"]), "TEST", file.stem)
    sizes = torch.tensor(case["dim"].astype(np.float32)).reshape(1, 1, 1, 2)
    y = net(s=torch.tensor(case["s"]), dim=sizes, data=torch.tensor(case["data"]))["y"].numpy()
    assert np.abs(y - case["y"]).max() <= TOLERANCE * np.abs(case["y"]).max()


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "s": torch.randn((2, 3, 8, 9), generator=generator),
        "d": torch.tensor([8.0, 9.0]).repeat(2).reshape(2, 1, 1, 2),
        "i": torch.randint(-90, 90, (2, 3, 8, 9), generator=generator).float(),
    }


def test_without_potentials_it_is_the_softmax(build):
    feed = inputs()
    torch.testing.assert_close(build(NET % ("", ""))(**feed)["y"], feed["s"].softmax(1))


def test_exp_is_0_below_minus_20(build):
    feed = inputs()
    feed["s"][:, 0] += 100
    y = build(NET % ("", "output_probability: false"))(**feed)["y"]
    assert (y[:, 0] == 0).all() and y[:, 1:].max().item() == pytest.approx(-87.3365, abs=1e-3)


def test_every_image_uses_its_own_colours(build):
    feed = inputs()
    net = build(NET % ('bottom: "i"', COLOUR))
    both = net(**feed)["y"]
    turned = net(**{name: blob.flip(0) for name, blob in feed.items()})["y"]
    torch.testing.assert_close(turned.flip(0), both)


def test_smoothing_over_position_needs_no_image(build):
    feed = inputs()
    smooth = build(NET % ("", "pos_xy_std: 3 pos_w: 5"))(**feed)["y"]
    rough = feed["s"].softmax(1)
    assert smooth.diff(dim=3).abs().sum() < rough.diff(dim=3).abs().sum()


@pytest.mark.parametrize(
    ("bottom", "param", "message"),
    [
        ("", COLOUR, "belong together"),
        ('bottom: "i"', "", "belong together"),
        ("", "pos_xy_std: 3", "equally often"),
    ],
)
def test_refusals(build, bottom, param, message):
    with pytest.raises(NetError, match=message):
        build(NET % (bottom, param))


def test_scores_that_lie_partly_outside_the_image(build):
    feed = inputs() | {"d": torch.tensor([4.0, 12.0]).repeat(2).reshape(2, 1, 1, 2)}
    with pytest.raises(NetError, match="does not fit the scores"):
        build(NET % ("", ""))(**feed)
