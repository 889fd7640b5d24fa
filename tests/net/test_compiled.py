"""Layers that torch.compile joins: which ones, what they read and what they give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rlossctl.net import Net

LAYERS = """
input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 } input: "index" input_shape { dim: 2 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "picked" type: "BatchReindex" bottom: "a" bottom: "index" top: "picked" }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "picked" top: "sum" }
layer { name: "half" type: "Power" bottom: "sum" top: "half" power_param { scale: 0.5 } }
layer { name: "mean" type: "Reduction" bottom: "half" top: "mean" loss_weight: 2 }
layer { name: "last" type: "TanH" bottom: "sum" top: "last" }
"""


@pytest.fixture
def blobs() -> dict[str, torch.Tensor]:
    return {"data": torch.randn(2, 3, 4, 4), "index": torch.tensor([1.0, 0.0])}


def test_layers_between_those_that_check_values_are_joined(build: Callable[..., Net], blobs) -> None:
    net = build(LAYERS)
    plain = net.run(blobs)
    net.compile(backend="eager")
    nodes = {layer.name: layer.node for _, layer in net.compiled}
    assert list(nodes) == ["a to relu", "picked", "sum to half", "mean", "last"]
    assert (nodes["a to relu"].bottoms, nodes["a to relu"].tops) == (("data",), ("a",))
    assert (nodes["sum to half"].bottoms, nodes["sum to half"].tops) == (("a", "picked"), ("sum", "half"))
    joined = net.run(blobs)
    assert joined.loss.item() == plain.loss.item() != 0
    assert torch.equal(joined.outputs["last"], plain.outputs["last"])
    assert set(joined.blobs) == set(plain.blobs)


@pytest.mark.parametrize("how", [{"keep": True}, {"until": ["half"]}, {"layer_by_layer": True}])
def test_a_pass_that_needs_single_layers_does_not_use_them(build, blobs, how) -> None:
    net = build(LAYERS)
    plain = net.run(blobs, **how)

    def refused(*_: object) -> None:
        raise AssertionError("compiled")

    net.compile(backend=refused)
    assert set(net.run(blobs, **how).blobs) == set(plain.blobs)
