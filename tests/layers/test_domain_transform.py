"""The gradient, the bounds and the padding of DomainTransform, which are not recorded."""

from __future__ import annotations

import math

import pytest
import torch

from rlossctl.errors import NetError

NET = """
input: "x" input_shape { dim: 1 dim: 2 dim: 5 dim: 6 }
input: "g" input_shape { dim: 1 dim: 1 dim: 5 dim: 6 }
input: "d" input_shape { dim: 1 dim: 1 dim: 1 dim: 2 }
layer { name: "l" type: "DomainTransform" bottom: "x" bottom: "g" bottom: "d" top: "y"
  domain_transform_param { num_iter: 2 spatial_sigma: 6 range_sigma: 3 %s } }
"""
ONLY = NET.replace('type: "DomainTransform"', 'type: "DomainTransformForwardOnly"')


def blobs(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((1, 2, 5, 6), generator=generator, dtype=dtype).requires_grad_()
    return x, torch.rand((1, 1, 5, 6), generator=generator, dtype=dtype).requires_grad_()


@pytest.mark.proves("DomainTransform", gradient=True)
def test_gradient_to_features_and_reference(build):
    layer = build(NET % "").layers[-1].module
    sizes = torch.tensor([4.0, 5.0]).reshape(1, 1, 1, 2)
    torch.autograd.gradcheck(lambda x, g: layer(x, g, sizes), blobs())


def test_what_lies_outside_the_image_stays(build):
    x, g = blobs(torch.float32)
    y = build(NET % "")(x=x, g=g, d=torch.tensor([3.0, 4.0]).reshape(1, 1, 1, 2))["y"]
    inside = torch.zeros(5, 6, dtype=torch.bool)
    inside[:3, :4] = True
    assert torch.equal(y[..., ~inside], x[..., ~inside]) and not torch.equal(y[..., inside], x[..., inside])


def test_weights_keep_their_gradient_at_the_bound(build):
    """Caffe's backward takes d weight / d g = factor * weight, bounded or not."""
    layer = build(NET % "min_weight: 0.9").layers[-1].module
    edges = torch.full((1, 1), 2.0, requires_grad=True)
    weight = layer._weights(edges, 0)
    weight.sum().backward()
    sigma = 6 * math.sqrt(3) * 2 / math.sqrt(15)
    assert weight.item() == pytest.approx(0.9)
    assert edges.grad.item() == pytest.approx(-math.sqrt(2) / sigma * 2 * 0.9, rel=1e-5)


@pytest.mark.proves("DomainTransformForwardOnly")
def test_forward_only_knows_neither_gradient_nor_bounds(build):
    x, g = blobs(torch.float32)
    sizes = torch.tensor([5.0, 6.0]).reshape(1, 1, 1, 2)
    only = build(ONLY % "min_weight: 0.9")(x=x, g=g, d=sizes)["y"]
    free = build(NET % "")(x=x, g=g, d=sizes)["y"]
    assert not only.requires_grad
    torch.testing.assert_close(only, free.detach())


def test_image_larger_than_its_blob(build):
    x, g = blobs(torch.float32)
    with pytest.raises(NetError, match="larger than its blob"):
        build(NET % "")(x=x, g=g, d=torch.tensor([5.0, 7.0]).reshape(1, 1, 1, 2))
    with pytest.raises(NetError, match="out of range"):
        build((NET % "").replace("num_iter: 2", "num_iter: 0"))
