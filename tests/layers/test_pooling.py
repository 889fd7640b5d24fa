"""SPP against Pooling: each of its levels is one."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

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
