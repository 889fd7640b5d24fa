"""Pairs of layers that a pass computes as one give what the layers give one by one."""

from __future__ import annotations

import pytest
import torch

from rlossctl.net import Net
from rlossctl.net.joined import Joined
from rlossctl.net.walk import Watch

NET = """
force_backward: true
input: "x" input_shape { dim: 4 dim: 3 dim: 5 dim: 6 }
layer { name: "norm" type: "BatchNorm" bottom: "x" top: "n" batch_norm_param { FIELDS } }
layer { name: "scale" type: "Scale" bottom: "n" top: "y" scale_param { axis: 1 SCALE } }
"""
SECOND_READER = 'layer { name: "other" type: "Power" bottom: "n" top: "z" }'


def pairs(net: Net) -> list[tuple[str, ...]]:
    """The tops of the pairs."""
    return [layer.tops for _, layer in net._joined if isinstance(layer.module, Joined)]


def prepared(net: Net) -> Net:
    """With statistics and weights that are not all alike."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for blobs in net.params.values():
            for blob in blobs:
                blob.copy_(torch.rand(blob.shape, generator=generator) + 0.5)
    return net


def passed(net: Net, **how: object) -> list[torch.Tensor]:
    """y, what the pass made of the blobs, and the gradients of x and of the scale."""
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    y = net.run({"x": x}, **how).outputs["y"]
    scale = net.params["scale"]
    gradients = torch.autograd.grad((y * torch.linspace(0, 1, y.numel()).view_as(y)).sum(), [x, *scale])
    return [y.detach(), *(blob.detach() for blob in net.params["norm"]), *gradients]


@pytest.mark.parametrize("fields", ["use_global_stats: true", "use_global_stats: false"])
@pytest.mark.parametrize("scale", ["bias_term: true", ""])
@pytest.mark.parametrize("between", ["n", "x"])
def test_a_norm_with_its_scale(build, fields, scale, between) -> None:
    text = NET.replace("FIELDS", fields).replace("SCALE", scale).replace('"n"', f'"{between}"')
    net, other = prepared(build(text)), prepared(build(text))
    assert pairs(net) == [("y",)]
    for one, many in zip(passed(net), passed(other, watch=Watch()), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("axis: 1", "axis: 2"),
        ("axis: 1", "num_axes: 2"),
        ("axis: 1", "axis: 0"),
        ('top: "y"', 'top: "y" propagate_down: false'),
    ],
)
def test_what_is_not_joined(build, change, to) -> None:
    text = NET.replace("FIELDS", "").replace("SCALE", "")
    assert text.count(change) == 1 and pairs(build(text)) == [("y",)]
    assert pairs(build(text.replace(change, to))) == []


def test_a_blob_that_another_layer_reads_stays(build) -> None:
    net = build(NET.replace("FIELDS", "").replace("SCALE", "") + SECOND_READER)
    assert pairs(net) == [] and set(net.run({"x": torch.ones(4, 3, 5, 6)}).outputs) == {"y", "z"}


def test_hooks_see_both_layers(build) -> None:
    net = prepared(build(NET.replace("FIELDS", "").replace("SCALE", "")))
    seen = []
    net.layer("scale").module.register_forward_hook(lambda _module, bottoms, _top: seen.append(bottoms[0]))
    net.run({"x": torch.randn(4, 3, 5, 6)})
    assert len(seen) == 1 and abs(seen[0].mean().item()) < 1e-6
