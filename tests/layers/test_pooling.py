"""STOCHASTIC pooling by its formula; SPP's levels against Pooling; AdaptivePooling against torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rlossctl.errors import NetError

from . import opencv

SHAPE = (2, 3, 11, 13)
LEVELS = (  # kernel and pad of 1, 2 and 4 bins over 11 rows and 13 columns
    "kernel_h: 11 kernel_w: 13 stride_h: 11 stride_w: 13",
    "kernel_h: 6 kernel_w: 7 stride_h: 6 stride_w: 7 pad_h: 1 pad_w: 1",
    "kernel_h: 3 kernel_w: 4 stride_h: 3 stride_w: 4 pad_h: 1 pad_w: 2",
)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_each_level_is_a_pooling(layer, pool):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    levels = [
        layer("Pooling", f"pooling_param {{ pool: {pool} {window} }}", SHAPE)(a=x)["t0"].flatten(1)
        for window in LEVELS
    ]
    net = layer("SPP", f"spp_param {{ pyramid_height: 3 pool: {pool} }}", SHAPE)
    torch.testing.assert_close(net(a=x)["t0"], torch.cat(levels, 1), rtol=1e-6, atol=1e-6)


def test_a_single_level_is_not_flattened(layer):
    assert layer("SPP", "spp_param { pyramid_height: 1 }", SHAPE).shapes["t0"] == (2, 3, 1, 1)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("", SHAPE, "pyramid_height must be positive"),
        ("spp_param { pyramid_height: 2 }", (2, 3), "4-D"),
        ("spp_param { pyramid_height: 2 pool: STOCHASTIC }", SHAPE, "STOCHASTIC"),
        ("spp_param { pyramid_height: 3 }", (1, 1, 5, 8), "too small for its bins"),
    ],
)
def test_impossible_pyramids_are_refused(layer, fields, shape, message):
    with pytest.raises(NetError, match=message):
        layer("SPP", fields, shape)


STOCHASTIC = "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }"


def windows(x: torch.Tensor) -> list[list[torch.Tensor]]:
    """The values of each window of size 3 and stride 2, those beyond the image left out."""
    rows, columns = (range(0, (size - 3 + 1) // 2 * 2 + 1, 2) for size in x.shape[2:])
    return [[x[0, 0, r : r + 3, c : c + 3].flatten() for c in columns] for r in rows]


def test_stochastic_pooling_in_test_weighs_values_by_themselves(stochastic):
    x = torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(1))
    x[:, :, :3, :3] = 0
    y = stochastic("TEST")(a=x)["t0"]
    assert y.shape == (1, 1, 3, 3) and y[0, 0, 0, 0] == 0
    for row, found in zip(windows(x), y[0, 0], strict=True):
        for window, value in zip(row, found, strict=True):
            expected = (window**2).sum() / window.sum() if window.sum() else torch.zeros(())
            torch.testing.assert_close(value, expected)


def test_stochastic_pooling_in_training_draws_values_in_proportion(stochastic):
    x = torch.tensor([[1.0, 0, 2], [0, 5, 0], [0, 0, 2]])[None, None].requires_grad_()
    net = stochastic("TRAIN", (*SHAPE[:2], 3, 3))
    torch.manual_seed(0)
    y = net(a=x.expand(500, 4, 3, 3))["t0"]
    share = {value: (y == value).double().mean().item() for value in (1.0, 2.0, 5.0)}
    assert sum(share.values()) == 1  # a 0 is never drawn
    for value, expected in ((1.0, 0.1), (2.0, 0.4), (5.0, 0.5)):
        assert share[value] == pytest.approx(expected, abs=0.04)
    y.sum().backward()  # to the value that was drawn
    assert x.grad.sum() == 2000 and x.grad[0, 0, 1, 1] == (y == 5).sum() and x.grad[0, 0, 0, 1] == 0
    assert x.grad[0, 0, 0, 2] + x.grad[0, 0, 2, 2] == (y == 2).sum()


def test_stochastic_pooling_has_no_mask(layer):
    with pytest.raises(NetError, match="only for MAX"):
        layer("Pooling", STOCHASTIC, SHAPE, tops=2)


@pytest.fixture
def stochastic(build):
    """stochastic(phase, shape) gives a net of one pooling layer."""

    def net(phase: str, shape: tuple[int, ...] = (1, 1, 6, 7)):
        dims = " ".join(f"dim: {size}" for size in shape)
        text = f'input: "a" input_shape {{ {dims} }} layer {{ name: "l" type: "Pooling" bottom: "a" '
        return build(f'{text} top: "t0" {STOCHASTIC} }}', phase)

    return net


@pytest.mark.proves("AdaptivePooling", "adaptive_pooling_param { output_size: 3 }", gradient=True)
@pytest.mark.parametrize("bins", [1, 2, 3, 6, 16])
def test_adaptive_pooling_has_torchs_bins(layer, bins):
    """Bins that overlap, and more bins than values."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    net = layer("AdaptivePooling", f"adaptive_pooling_param {{ output_size: {bins} }}", SHAPE)
    found, expected = net(a=x)["t0"], torch.nn.functional.adaptive_avg_pool2d(x, bins)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert net.shapes["t0"] == (*SHAPE[:2], bins, bins)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("factor", "least"), [(0.5, 1), (0.1, 5), (1.5, 1)])
def test_adaptive_pooling_and_interp_by_a_factor(layer, factor, least):
    """Sizes as ESPNetv2's pyramids compute them: ceil(factor n), and at least so many."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    size = [max(least, math.ceil(side * factor)) for side in SHAPE[2:]]
    fields = f"{{ factor: {factor} at_least: {least} }}"
    found = layer("AdaptivePooling", f"adaptive_pooling_param {fields}", SHAPE)(a=x)["t0"]
    torch.testing.assert_close(found, F.adaptive_avg_pool2d(x, size), rtol=1e-6, atol=1e-6)
    found = layer("Interp", f"interp_param {fields}", SHAPE)(a=x)["t0"]
    torch.testing.assert_close(found, F.interpolate(x, size, mode="bilinear", align_corners=True))


def test_adaptive_pooling_to_the_size_of_a_second_bottom(layer):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    found = layer("AdaptivePooling", "", SHAPE, (1, 1, 4, 5))(a=x, b=torch.zeros(1, 1, 4, 5))["t0"]
    torch.testing.assert_close(found, F.adaptive_avg_pool2d(x, (4, 5)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("fields", "shape"), [("output_size: 0", SHAPE), ("output_size: 2", (2, 3))])
def test_adaptive_pooling_needs_a_plane_and_a_size(layer, fields, shape):
    with pytest.raises(NetError, match=r"must be positive|4-D"):
        layer("AdaptivePooling", f"adaptive_pooling_param {{ {fields} }}", shape)


@pytest.mark.parametrize("fields, size", [("", 4), ("ceil_mode: true", 4), ("ceil_mode: false", 3)])
def test_ceil_mode_is_the_older_name_of_the_rounding(layer, fields: str, size: int):
    x = torch.arange(49.0).reshape(1, 1, 7, 7)
    net = layer("Pooling", f"pooling_param {{ kernel_size: 2 stride: 2 {fields} }}", (1, 1, 7, 7))
    expected = F.max_pool2d(x, 2, 2, ceil_mode=size == 4)
    assert torch.equal(net.run({"a": x}).blobs["t0"], expected) and expected.shape[-1] == size


def test_ceil_mode_and_round_mode_have_to_agree(layer):
    with pytest.raises(NetError, match="contradict"):
        layer("Pooling", "pooling_param { kernel_size: 2 ceil_mode: true round_mode: FLOOR }", (1, 1, 7, 7))


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("ceil", ["true", "false"])
def test_ceil_mode_is_opencvs(build, pool: str, ceil: str):
    text = (
        'input: "a" input_shape { dim: 1 dim: 2 dim: 8 dim: 10 } layer { name: "p" type: "Pooling" '
        f'bottom: "a" top: "p" pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 ceil_mode: {ceil} }} }}'
    )
    x = torch.randn(1, 2, 8, 10)
    expected = opencv.run(text, {"a": x.numpy()})
    found = build(text).run({"a": x}).blobs["p"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
