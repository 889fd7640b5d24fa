"""Unpooling and Upsample without a mask, by their formulas."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

SHAPE = (2, 3, 4, 5)


def plain(x: torch.Tensor, method: str, kernel: int, stride: int, size: tuple[int, int]) -> torch.Tensor:
    """unpooling_layer.cpp, one value after the other."""
    out = torch.zeros(*x.shape[:2], *size)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            top, left = row * stride, column * stride
            if method == "MAX":
                out[..., min(top, size[0] - 1), min(left, size[1] - 1)] = x[..., row, column]
                continue
            bottom, right = min(top + kernel, size[0]), min(left + kernel, size[1])
            if bottom > top and right > left:
                share = (bottom - top) * (right - left) if method == "AVE" else 1
                out[..., top:bottom, left:right] += (x[..., row, column] / share)[..., None, None]
    return out


@pytest.mark.parametrize("method", ["MAX", "AVE", "TILE"])
@pytest.mark.parametrize(
    "kernel, stride, size", [(2, 2, None), (3, 2, None), (3, 2, (8, 12)), (2, 3, (11, 13))]
)
def test_without_a_mask(layer, method: str, kernel: int, stride: int, size: tuple[int, int] | None):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    stated = f"unpool_h: {size[0]} unpool_w: {size[1]}" if size else ""
    fields = f"unpool: {method} kernel_size: {kernel} stride: {stride} {stated}"
    found = layer("Unpooling", f"unpooling_param {{ {fields} }}", SHAPE).run({"a": x}).blobs["t0"]
    size = size or tuple(max(stride * (n - 1) + kernel, stride * n + 1) for n in SHAPE[2:])
    torch.testing.assert_close(found, plain(x, method, kernel, stride, size))


def test_a_mask_brings_the_maxima_back_to_their_places(build):
    net = build(
        'input: "a" input_shape { dim: 1 dim: 2 dim: 8 dim: 8 } layer { name: "p" type: "Pooling" '
        'bottom: "a" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } } '
        'layer { name: "u" type: "Unpooling" bottom: "p" bottom: "m" top: "u" '
        "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 8 } }"
    )
    x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    blobs = net.run({"a": x}, keep=True).blobs
    kept = blobs["u"] != 0
    assert kept.sum() == 2 * 16 and torch.equal(blobs["u"][kept], x[kept])


@pytest.mark.proves(
    "Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 40 }", gradient=True
)
@pytest.mark.parametrize("method, share", [("MAX", 0), ("AVE", 0.25), ("TILE", 1)])
def test_the_gradient_comes_from_where_the_values_went(layer, method: str, share: float):
    x = torch.randn(SHAPE, requires_grad=True)
    fields = f"unpooling_param {{ unpool: {method} kernel_size: 2 stride: 2 unpool_h: 8 unpool_w: 10 }}"
    weight = torch.randn(2, 3, 8, 10)
    (layer("Unpooling", fields, SHAPE)(a=x)["t0"] * weight).sum().backward()
    windows = weight.unflatten(3, (5, 2)).unflatten(2, (4, 2))
    expected = windows.sum((3, 5)) * share if share else windows[:, :, :, 0, :, 0]
    torch.testing.assert_close(x.grad, expected)


def test_v1_nets_of_deconvnet_are_upgraded(build):
    net = build(
        "input: 'a' input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 4 layers { type: UNPOOLING name: 'u' "
        "bottom: 'a' top: 'u' unpooling_param { kernel_size: 2 stride: 2 unpool_size: 8 } } "
        "layers { type: BN name: 'b' bottom: 'u' top: 'b' bn_param { bn_mode: INFERENCE } }"
    )
    assert [layer.type for layer in net.layers] == ["Unpooling", "BN"] and net.shapes["u"] == (1, 2, 8, 8)


@pytest.mark.parametrize(
    "fields", ["kernel_size: 2 pad: 1", "", "kernel_size: 2 unpool_size: 3 unpool_h: 3 unpool_w: 3"]
)
def test_what_the_original_refuses_is_refused(layer, fields: str):
    with pytest.raises(NetError):
        layer("Unpooling", f"unpooling_param {{ {fields} }}", SHAPE)


@pytest.mark.parametrize("fields, scale", [("", 2), ("scale: 3", 3), ("stride: 4", 4)])
def test_upsample_of_one_bottom_repeats_each_value(layer, fields: str, scale: int):
    x = torch.randn(SHAPE)
    net = layer("Upsample", f"upsample_param {{ {fields} }}", SHAPE)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(net.run({"a": x}).blobs["t0"], expected) and net.dialect == "bvlc"


def test_upsample_of_one_bottom_takes_no_size(layer):
    with pytest.raises(NetError, match="size follows from the scale"):
        layer("Upsample", "upsample_param { upsample_h: 8 upsample_w: 9 }", SHAPE)
