"""UniqueLabel, BiasChannel and AdaptiveBiasChannel where no recording exists."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

UNIQUE = """
input: "t" input_shape { dim: 1 dim: 1 dim: 2 dim: 3 }
layer { name: "l" type: "UniqueLabel" bottom: "t" top: "u"
  unique_label_param { max_labels: 3 ignore_label: 255 %s } }
"""
BIAS = """
input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
input: "t" input_shape { dim: 1 dim: %d dim: %d dim: %d }
layer { name: "l" type: "BiasChannel" bottom: "x" bottom: "t" top: "y" %s }
"""
ADAPTIVE = BIAS.replace('type: "BiasChannel"', 'type: "AdaptiveBiasChannel"')


def image(*labels: float) -> torch.Tensor:
    return torch.tensor(labels).reshape(1, 1, 2, 3)


def test_forced_labels_are_always_in(build):
    net = build(UNIQUE % "force_label: 0 force_label: 4")
    top = net(t=image(4, 4, 255, 255, 2, 2))["u"]
    assert top.shape == (1, 3, 1, 1) and top.flatten().tolist() == [0, 2, 4]
    assert net(t=image(*[255.0] * 6))["u"].flatten().tolist() == [0, 4, -1]


def test_more_labels_than_room(build):
    with pytest.raises(NetError, match="too many labels") as caught:
        build(UNIQUE % "")(t=image(0, 1, 2, 3, 255, 0))
    assert caught.value.found == "4 distinct labels" and "max_labels" in caught.value.advice
    with pytest.raises(NetError, match="leave room"):
        build(UNIQUE % "force_label: 0 force_label: 1 force_label: 2")


@pytest.mark.proves("BiasChannel", gradient=True)
def test_pixel_bias_with_a_background(build):
    net = build(BIAS % (1, 2, 2, "bias_channel_param { label_type: PIXEL bg_bias: 1 fg_bias: 3 }"))
    x = torch.zeros((1, 3, 2, 2), requires_grad=True)
    y = net(x=x, t=torch.tensor([0.0, 1.0, 2.0, -1.0]).reshape(1, 1, 2, 2))["y"]
    assert y[0].flatten(1).T.tolist() == [[1, 0, 0], [1, 3, 0], [1, 0, 3], [0, 0, 0]]
    (y * 2).sum().backward()
    assert (x.grad == 2).all()


def test_a_label_listed_twice_counts_twice(build):
    net = build(BIAS % (2, 1, 1, ""))
    y = net(x=torch.zeros(1, 3, 2, 2), t=torch.full((1, 2, 1, 1), 2.0))["y"]
    assert y[0, :, 0, 0].tolist() == [0, 0, 4]


@pytest.mark.parametrize("text", [BIAS, ADAPTIVE], ids=["bias", "adaptive"])
def test_labels_out_of_range_and_sizes_that_differ(build, text):
    with pytest.raises(NetError, match="label ids out of range"):
        build(text % (2, 1, 1, ""))(x=torch.zeros(1, 3, 2, 2), t=torch.full((1, 2, 1, 1), 3.0))
    with pytest.raises(NetError, match="do not match"):
        build(text % (1, 2, 2, ""))


def test_each_label_present_wins_on_its_portion(build):
    text = ADAPTIVE.replace("dim: 2 dim: 2", "dim: 10 dim: 10") % (
        3,
        1,
        1,
        "adaptive_bias_channel_param { num_iter: 20 bg_portion: 0.3 fg_portion: 0.2 }",
    )
    x = torch.randn((1, 3, 10, 10), generator=torch.Generator().manual_seed(0))
    x[:, 2] += 5
    y = build(text)(x=x, t=torch.tensor([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1))["y"]
    shares = torch.bincount(y.argmax(1).flatten(), minlength=3) / 100
    assert shares[0] >= 0.29 and shares[1] >= 0.19 and shares[2] == 0
    before = x[:, :2].amax(1).mean()
    torch.testing.assert_close(y.amax(1).mean(), before)


def test_an_image_without_labels_stays_as_it_is(build):
    x = torch.randn(1, 3, 2, 2)
    net = build(ADAPTIVE % (2, 1, 1, ""))
    torch.testing.assert_close(net(x=x, t=torch.full((1, 2, 1, 1), -1.0))["y"], x, rtol=0, atol=0)
