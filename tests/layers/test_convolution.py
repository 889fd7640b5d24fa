"""Convolution's relatives against each other: each is one of the others in disguise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rlossctl.errors import NetError

SHAPE = (2, 4, 9, 8)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def fill(net, seed: int = 1) -> list[torch.Tensor]:
    blobs = net.params["l"]
    with torch.no_grad():
        for number, blob in enumerate(blobs):
            blob.copy_(noise(*blob.shape, seed=seed + number))
    return list(blobs)


@pytest.mark.proves(
    "ConvolutionDepthwise",
    'convolution_param { num_output: 12 kernel_size: 3 weight_filler { type: "msra" } }',
    gradient=True,
)
@pytest.mark.proves(
    "DepthwiseConvolution",
    'convolution_param { num_output: 12 group: 12 kernel_size: 3 weight_filler { type: "msra" } }',
    gradient=True,
)
def test_depthwise_convolutions_are_grouped_by_channel(layer):
    window = "kernel_size: 3 pad: 1 stride: 2 dilation: 2"
    grouped = layer("Convolution", f"convolution_param {{ num_output: 4 group: 4 {window} }}", SHAPE)
    depthwise = layer("ConvolutionDepthwise", f"convolution_param {{ num_output: 4 {window} }}", SHAPE)
    other = layer("DepthwiseConvolution", f"convolution_param {{ num_output: 4 group: 4 {window} }}", SHAPE)
    results = []
    for net in (grouped, depthwise, other):
        blobs, x = fill(net), noise(*SHAPE)
        assert [tuple(blob.shape) for blob in blobs] == [(4, 1, 3, 3), (4,)]
        y = net(a=x)["t0"]
        results.append((y, *torch.autograd.grad((y * y).sum(), [x, *blobs])))
    for result in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(result, results[0], strict=True))


def test_several_bottoms_share_deconvolutions_weights(layer):
    net = layer(
        "Deconvolution", "convolution_param { num_output: 2 kernel_size: 4 stride: 2 }", SHAPE, SHAPE, tops=2
    )
    weight, bias = fill(net)
    x, z = noise(*SHAPE), noise(*SHAPE, seed=9)
    tops = net(a=x, b=z)
    assert net.shapes["t1"] == tops["t1"].shape == (2, 2, 20, 18)
    (tops["t0"].sum() + tops["t1"].sum()).backward()
    torch.testing.assert_close(weight.grad[:, 0, 0, 0], (x + z).sum((0, 2, 3)))
    assert bias.grad.tolist() == [2 * 2 * 20 * 18] * 2


def test_im2col_times_the_weights_is_the_convolution(layer):
    for shape, window in (
        ((2, 3, 9), "kernel_size: 3 stride: 2 pad: 1"),
        ((2, 3, 9, 8), "kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 dilation: 2"),
        ((2, 3, 5, 6, 7), "kernel_size: 2 kernel_size: 1 kernel_size: 3 pad: 1"),
    ):
        net = layer("Convolution", f"convolution_param {{ num_output: 5 bias_term: false {window} }}", shape)
        (weight,) = fill(net)
        columns = layer("Im2col", f"convolution_param {{ {window} }}", shape)
        x = noise(*shape)
        y = torch.einsum("ok,nk...->no...", weight.flatten(1), columns(a=x)["t0"])
        torch.testing.assert_close(y, net(a=x)["t0"])


def test_axes_before_the_channels_are_batch(layer):
    for kind, fields in (
        ("Convolution", "num_output: 2 kernel_size: 3"),
        ("Deconvolution", "num_output: 2 kernel_size: 3"),
        ("Im2col", "kernel_size: 3"),
    ):
        deep = layer(kind, f"convolution_param {{ axis: -3 {fields} }}", (2, 3, 4, 6, 7))
        flat = layer(kind, f"convolution_param {{ {fields} }}", (6, 4, 6, 7))
        if kind != "Im2col":
            fill(deep), fill(flat)
        x = noise(2, 3, 4, 6, 7)
        assert torch.equal(deep(a=x)["t0"].flatten(0, 1), flat(a=x.flatten(0, 1))["t0"])


def test_deconvolution_shrinks_the_step(layer):
    net = layer("Deconvolution", "convolution_param { num_output: 2 kernel_size: 4 stride: 2 }", SHAPE)
    assert net.layers[0].module.window() == (2, 0.5)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("Convolution", "num_output: 4 kernel_size: 3 axis: 0", "batch axis"),
        ("Convolution", "num_output: 4 kernel_size: 3 axis: 3", "spatial axes"),
        ("Deconvolution", "num_output: 3 kernel_size: 3 group: 2", "multiples of group"),
        ("Deconvolution", "num_output: 3", "kernel_size"),
        ("ConvolutionDepthwise", "num_output: 8 kernel_size: 3", "num_output must be the number of channels"),
        ("DepthwiseConvolution", "group: 2 kernel_size: 3", "group must be the number of channels"),
        ("Im2col", "kernel_size: 30", "cannot take its bottoms"),
    ],
)
def test_impossible_layers_are_refused(layer, kind, fields, message):
    with pytest.raises(NetError, match=message):
        layer(kind, f"convolution_param {{ {fields} }}", SHAPE)


@pytest.mark.parametrize(
    "fields, dilation", [("hole: 2", (2, 2)), ("hole_h: 3 hole_w: 2", (3, 2)), ("hole_w: 2", (1, 2))]
)
def test_hole_is_dilation(layer, fields: str, dilation: tuple[int, int]):
    net = layer("Convolution", f"convolution_param {{ num_output: 2 kernel_size: 3 {fields} }}", (1, 3, 9, 9))
    x = torch.randn(1, 3, 9, 9)
    weight, bias = net.params["l"]
    torch.nn.init.normal_(weight)
    assert torch.equal(net.run({"a": x}).blobs["t0"], F.conv2d(x, weight, bias, dilation=dilation))


def test_hole_beside_dilation_is_refused(layer):
    with pytest.raises(NetError, match="given once"):
        layer(
            "Convolution",
            "convolution_param { num_output: 2 kernel_size: 3 hole: 2 dilation: 2 }",
            (1, 3, 9, 9),
        )
