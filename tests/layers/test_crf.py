"""DenseCRF inference against the original's results, and its rules."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError, WeightsError
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.weights import LayerRecord, write_caffemodel

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
        ("", COLOUR, "must be given together"),
        ('bottom: "i"', "", "must be given together"),
        ("", "pos_xy_std: 3", "same number of values"),
    ],
)
def test_refusals(build, bottom, param, message):
    with pytest.raises(NetError, match=message):
        build(NET % (bottom, param))


def test_scores_that_lie_partly_outside_the_image(build):
    feed = inputs() | {"d": torch.tensor([4.0, 12.0]).repeat(2).reshape(2, 1, 1, 2)}
    with pytest.raises(NetError, match="does not fit the scores"):
        build(NET % ("", ""))(**feed)


MEAN_FIELD = """
input: "u" input_shape { dim: 1 dim: 3 dim: 8 dim: 12 }
input: "i" input_shape { dim: 1 dim: 3 dim: 8 dim: 12 }
layer { name: "split" type: "Split" bottom: "u" top: "a" top: "b" }
layer { name: "crf" type: "MultiStageMeanfield" bottom: "a" bottom: "b" bottom: "i" top: "y"
  multi_stage_meanfield_param { num_iterations: 4 theta_alpha: 20 theta_beta: 10 theta_gamma: 3
    spatial_filter_weight: 2 bilateral_filter_weight: 1.5 %s } }
"""


def test_crf_as_rnn_with_potts_weights_is_our_mean_field(build):
    from rlossctl.bilateral import mean_field

    generator = torch.Generator().manual_seed(0)
    unary = torch.randn(1, 3, 8, 12, generator=generator)
    image = torch.rand(1, 3, 8, 12, generator=generator) * 255 - 120
    net = build(MEAN_FIELD % "compatibility_mode: POTTS threshold: 2")
    assert net.dialect == "fcn" and [tuple(blob.shape) for blob in net.params["crf"]] == [(1, 1, 3, 3)] * 3
    found = net.run({"u": unary, "i": image}).blobs["y"].detach().softmax(1)
    expected = mean_field(unary, image, 4, pos=[(3, 2)], bi=[(20, 10, 1.5)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.proves("MultiStageMeanfield", gradient=True)
def test_crf_as_rnn_learns_its_weights(build):
    """Weights and compatibilities that mix the classes, and the gradients, against the formula."""
    from rlossctl.bilateral import bilateral_filter

    generator = torch.Generator().manual_seed(1)
    unary = torch.randn(1, 3, 8, 12, generator=generator, requires_grad=True)
    image = torch.rand(1, 3, 8, 12, generator=generator) * 255
    net = build("force_backward: true" + MEAN_FIELD % "")
    blobs = net.params["crf"]
    with torch.no_grad():
        for blob in blobs:
            blob.add_(torch.randn(blob.shape, generator=generator) / 4)
    weight = torch.randn(1, 3, 8, 12, generator=generator)
    found = net.run({"u": unary, "i": image}).blobs["y"]
    grads = torch.autograd.grad((found * weight).sum(), [unary, *blobs])
    spatial, bilateral, mixing = (blob[0, 0].double() for blob in blobs)
    u, scores = unary.double(), unary.double()
    kernels = [(spatial, image[:, :0].double(), 3.0, 1.0), (bilateral, image.double(), 20.0, 10.0)]
    ones = torch.ones(1, 1, 8, 12, dtype=torch.float64)
    for _ in range(4):
        q, message = scores.softmax(1), 0
        for matrix, colours, xy, rgb in kernels:
            filtered = bilateral_filter(q, colours, xy, rgb) / bilateral_filter(ones, colours, xy, rgb)
            message = message + (matrix @ filtered.flatten(2)).unflatten(2, (8, 12))
        scores = u - (mixing @ message.flatten(2)).unflatten(2, (8, 12))
    torch.testing.assert_close(found.double(), scores, rtol=1e-4, atol=1e-4)
    expected = torch.autograd.grad((scores * weight.double()).sum(), [unary, *blobs])
    for mine, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def test_the_seven_blobs_of_the_later_version(build, tmp_path):
    net = build(MEAN_FIELD % "")
    own = [np.full((1, 1, 3, 3), value, "f4") for value in (1, 2, 3)]
    spare = [np.zeros((1, 1, 1, size), "f4") for size in (3, 3, 1, 1)]
    message = LayerParameter(name="crf", type="MultiStageMeanfield").SerializeToString()
    write_caffemodel(tmp_path / "w.caffemodel", "n", [LayerRecord(message, own + spare)])
    assert net.copy_from(tmp_path / "w.caffemodel")[0] == ["crf"]
    assert [blob.mean().item() for blob in net.params["crf"]] == [1, 2, 3]
    spare[1][0, 0, 0, 2] = 0.5
    write_caffemodel(tmp_path / "w.caffemodel", "n", [LayerRecord(message, own + spare)])
    with pytest.raises(WeightsError, match="surplus blobs that count: detections"):
        net.copy_from(tmp_path / "w.caffemodel")


@pytest.mark.parametrize(
    "fields, message",
    [
        ('spatial_filter_weights_str: "spatial.par"', "later version of CRF-as-RNN"),
        ("compatibility_mode: METRIC", "compatibility_mode is not available"),
    ],
)
def test_other_versions_of_crf_as_rnn_are_refused(build, fields: str, message: str):
    with pytest.raises(NetError, match=message):
        build(MEAN_FIELD % fields)
