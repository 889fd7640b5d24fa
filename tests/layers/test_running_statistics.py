"""PSPNet's BN and NVCaffe's BatchNorm by their formulas; the latter against OpenCV, too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError

from . import opencv

FILLERS = 'slope_filler { value: 1 } bias_filler { type: "constant" value: 0 }'
SHAPE = (3, 4, 5, 6)


@pytest.mark.proves("GroupNorm", "group_norm_param { group: 3 }", gradient=True)
def test_group_norm_is_its_formula(layer):
    x = torch.randn((2, 6, 3, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 2
    net = layer("GroupNorm", "group_norm_param { group: 3 eps: 0.5 }", x.shape).double()
    scale, shift = net.params["l"]
    assert scale.tolist() == [1] * 6 and not shift.any()

    def compute(x, scale, shift):
        parts = x.reshape(2, 3, 2 * 3 * 5)
        parts = (parts - parts.mean(2, True)) / (parts.var(2, correction=0, keepdim=True) + 0.5).sqrt()
        return parts.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]

    with torch.no_grad():
        scale.copy_(torch.linspace(-1, 2, 6)), shift.copy_(torch.linspace(1, 3, 6))
    given = [one.detach().requires_grad_() for one in (x, scale, shift)]
    x.requires_grad_()
    found, expected = net(a=x)["t0"], compute(*given)
    torch.testing.assert_close(found, expected)
    for y in (found, expected):
        y.pow(3).sum().backward()
    for one, other in zip((x, scale, shift), given, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_groups_divide_the_channels(layer):
    with pytest.raises(NetError, match="the groups must divide the channels"):
        layer("GroupNorm", "group_norm_param { group: 4 }", (2, 6, 3, 5))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 3 + 1


def fill(net, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    blobs = net.params["l"]
    with torch.no_grad():
        for blob in blobs:
            blob.copy_(torch.rand(blob.shape, generator=generator) + 0.5)
    return [blob.detach().double().reshape(1, -1, 1, 1) for blob in blobs]


def test_bn_with_four_blobs_uses_its_statistics(build, layer, x):
    text = (
        'input: "a" input_shape { dim: 3 dim: 4 dim: 5 dim: 6 } layer { name: "l" type: "BN" bottom: "a" '
        f'top: "t0" bn_param {{ {FILLERS} eps: 1e-3 }} }}'
    )
    net = build(text, "TEST")
    assert [tuple(blob.shape) for blob in net.params["l"]] == [(1, 4)] * 4 and net.dialect == "bvlc"
    slope, bias, mean, variance = fill(net)
    expected = (x.double() - mean) / torch.sqrt(variance + 1e-3) * slope + bias
    torch.testing.assert_close(net.run({"a": x}).blobs["t0"].double(), expected, rtol=1e-5, atol=1e-5)


def test_training_takes_the_batch_and_moves_the_statistics(layer, x):
    net = layer("BN", f"bn_param {{ {FILLERS} momentum: 0.8 }}", SHAPE)  # TRAIN
    slope, bias, mean, variance = fill(net)
    y = net.run({"a": x}).blobs["t0"].double()
    own_variance, own_mean = torch.var_mean(x.double(), (0, 2, 3), correction=0, keepdim=True)
    expected = (x.double() - own_mean) / torch.sqrt(own_variance + 1e-5) * slope + bias
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    for blob, old, own in zip(net.params["l"][2:], (mean, variance), (own_mean, own_variance), strict=True):
        moved = (0.8 * old + 0.2 * own).flatten()
        torch.testing.assert_close(blob.detach().double().flatten(), moved, rtol=1e-5, atol=1e-6)
    assert [(entry.lr_mult, entry.decay_mult) for entry in net.learnable] == [(1, 1), (1, 1), (0, 0), (0, 0)]


def test_frozen_keeps_everything(layer, x):
    net = layer("BN", f"bn_param {{ {FILLERS} frozen: true }} " + "param { lr_mult: 1 } " * 2, SHAPE)
    slope, bias, mean, variance = fill(net)
    before = [blob.clone() for blob in net.params["l"]]
    expected = (x.double() - mean) / torch.sqrt(variance + 1e-5) * slope + bias
    torch.testing.assert_close(net.run({"a": x}).blobs["t0"].double(), expected, rtol=1e-5, atol=1e-5)
    assert all(map(torch.equal, before, net.params["l"]))
    assert [entry.lr_mult for entry in net.learnable] == [0] * 4


def test_segnets_bn_stays_what_it_is(layer):
    assert len(layer("BN", "", SHAPE).params["l"]) == 2
    assert len(layer("BN", "param { lr_mult: 1 } param { lr_mult: 2 }", SHAPE).params["l"]) == 2
    with pytest.raises(NetError, match="mixes the fields of two kinds of BN"):
        layer("BN", "bn_param { scale_filler { value: 1 } frozen: true }", SHAPE)


@pytest.mark.parametrize(
    "fields", ["scale_bias: true", "scale_filler { value: 1 }", "bias_filler { value: 0 }"]
)
def test_batch_norm_with_scale_and_bias(build, x, fields: str):
    text = (
        'input: "a" input_shape { dim: 3 dim: 4 dim: 5 dim: 6 } '
        f'layer {{ name: "l" type: "BatchNorm" bottom: "a" top: "t0" batch_norm_param {{ {fields} }} }}'
    )
    net = build(text, "TEST")
    assert [tuple(blob.shape) for blob in net.params["l"]] == [(4,), (4,), (1,), (4,), (4,)]
    assert [blob.flatten()[0].item() for blob in net.params["l"]] == [0, 0, 1, 1, 0]
    mean, variance, _, scale, bias = fill(net)
    expected = (x.double() - mean) / torch.sqrt(variance + 1e-5) * scale + bias
    torch.testing.assert_close(net.run({"a": x}).blobs["t0"].double(), expected, rtol=1e-5, atol=1e-5)
    assert [entry.lr_mult for entry in net.learnable] == [0, 0, 0, 1, 1]


def test_folding_takes_them_in(build, tmp_path):
    from rlossctl.converters.folding.scale import fold_scale
    from rlossctl.net.deploy import Deploy

    text = (
        'input: "a" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 } layer { name: "c" type: "Convolution" '
        'bottom: "a" top: "c" convolution_param { num_output: 4 kernel_size: 3 } } '
        f'layer {{ name: "l" type: "BN" bottom: "c" top: "b" bn_param {{ {FILLERS} }} }} '
        'layer { name: "n" type: "BatchNorm" bottom: "b" top: "y" '
        "batch_norm_param { scale_bias: true } }"
    )
    net = build(text, "TEST")
    torch.nn.init.normal_(net.params["c"][0])
    for name in ("l", "n"):
        net.params["l"], kept = net.params[name], net.params["l"]
        fill(net)
        net.params["l"] = kept
    deploy = Deploy(net)
    folded, into = fold_scale(deploy)
    assert len(folded.layers) == 1 and len(into) == 2
    image = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(folded(image), deploy(image), rtol=1e-4, atol=1e-4)


def test_batch_norm_with_scale_and_bias_is_opencvs(build, tmp_path):
    text = (
        'input: "a" input_shape { dim: 1 dim: 4 dim: 5 dim: 6 } layer { name: "l" type: "BatchNorm" '
        'bottom: "a" top: "t0" batch_norm_param { scale_bias: true } }'
    )
    net = build(text, "TEST")
    fill(net)
    with torch.no_grad():
        net.params["l"][2].fill_(1)  # as NVCaffe writes it
    image = torch.randn(1, 4, 5, 6)
    found = net.run({"a": image}).blobs["t0"].detach().numpy()
    np.testing.assert_allclose(found, opencv.run_net(net, image, tmp_path), rtol=1e-4, atol=1e-5)
