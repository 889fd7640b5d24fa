"""LRN, MVN and Normalize where no recording exists."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

SHAPE = (2, 3, 4, 5)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.proves("Normalize", "norm_param { across_spatial: false }", gradient=True)
@pytest.mark.parametrize("across", ["true", "false"])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_normalize_divides_by_the_euclidean_norm(layer, across, shared):
    net = layer(
        "Normalize",
        f"norm_param {{ across_spatial: {across} channel_shared: {shared} scale_filler {{ value: 20 }} }}",
        SHAPE,
    )
    (scale,) = net.params["l"]
    assert tuple(scale.shape) == (() if shared == "true" else (3,))
    x = noise(*SHAPE)
    y = net(a=x)["t0"]
    norm = y.pow(2).sum((1, 2, 3) if across == "true" else 1).sqrt()
    torch.testing.assert_close(norm, torch.full_like(norm, 20))
    assert torch.equal(y.sign(), x.sign())
    y.sum().backward()
    torch.testing.assert_close(scale.grad.sum(), (y / 20).sum())
    # moving along x changes nothing that is divided by its own norm
    along = (x.grad * x).sum() if across == "true" else (x.grad * x).sum(1).abs().max()
    assert along.abs() < 1e-4


def test_normalize_starts_at_scale_1(layer):
    assert layer("Normalize", "", SHAPE).params["l"][0].item() == 1


def test_mvn_of_a_constant_plane_is_zero_with_a_finite_gradient(layer):
    x = torch.full(SHAPE, 7.0, requires_grad=True)
    y = layer("MVN", "", SHAPE)(a=x)["t0"]
    y.sum().backward()
    assert (y == 0).all() and torch.isfinite(x.grad).all()


def test_mvn_takes_blobs_of_any_rank(layer):
    x = noise(4, 6)
    assert (layer("MVN", "", (4, 6))(a=x)["t0"] == 0).all()  # one value per channel
    y = layer("MVN", "mvn_param { across_channels: true }", (4, 6))(a=x)["t0"]
    torch.testing.assert_close(y.std(1, correction=0), torch.ones(4))


@pytest.mark.parametrize(
    ("kind", "fields", "shape", "message"),
    [
        ("LRN", "lrn_param { local_size: 4 }", SHAPE, "must be odd"),
        ("LRN", "", (2, 3), "4-D"),
        ("MVN", "", (3,), "channels"),
        ("Normalize", "", (3,), "channels"),
    ],
)
def test_impossible_layers_are_refused(layer, kind, fields, shape, message):
    with pytest.raises(NetError, match=message):
        layer(kind, fields, shape)
