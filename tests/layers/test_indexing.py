"""Layers of indices: ties, gradients that no recording holds, and indices out of range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.parametrize("top_k", [1, 4, 7])
def test_argmax_orders_by_value_then_by_the_larger_index(layer, top_k):
    """As Caffe sorts pairs (value, index); also among values of minus infinity."""
    x = np.random.default_rng(0).integers(0, 3, (5, 7, 6)).astype(np.float32)
    x[x == 0] = -np.inf
    net = layer("ArgMax", f"argmax_param {{ axis: 1 top_k: {top_k} }}", x.shape)
    found = net(a=torch.from_numpy(x))["t0"].numpy()
    for item, column in np.ndindex(5, 6):
        pairs = sorted(((value, index) for index, value in enumerate(x[item, :, column])), reverse=True)
        assert found[item, :, column].tolist() == [index for _, index in pairs[:top_k]]


def test_argmax_of_a_whole_image_has_at_least_three_axes(layer):
    assert layer("ArgMax", "argmax_param { top_k: 2 }", (3, 9)).shapes["t0"] == (3, 1, 2)
    both = "argmax_param { top_k: 2 out_max_val: true }"
    assert layer("ArgMax", both, (3, 2, 2, 2, 2)).shapes["t0"] == (3, 2, 2, 1, 1)


@pytest.mark.proves("Embed", gradient=True)
def test_embed_adds_up_the_gradients_of_a_row(layer):
    net = layer("Embed", "embed_param { input_dim: 4 num_output: 2 }", (3,))
    rows, bias = net.params["l"]
    with torch.no_grad():
        rows.copy_(torch.arange(8.0).reshape(4, 2))
        bias.fill_(10)
    y = net(a=torch.tensor([1.0, 3.9, 1.0]))["t0"]
    assert y.tolist() == [[12, 13], [16, 17], [12, 13]]
    y.sum().backward()
    assert rows.grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]] and bias.grad.tolist() == [3, 3]


@pytest.mark.proves("BatchReindex", gradient=True)
def test_batch_reindex_adds_up_the_gradients_of_an_item(layer):
    x = noise(3, 2)
    y = layer("BatchReindex", "", (3, 2), (4,))(a=x, b=torch.tensor([2.0, 0, 2, 2]))["t0"]
    assert torch.equal(y, x[[2, 0, 2, 2]])
    y.sum().backward()
    assert x.grad[:, 0].tolist() == [1, 0, 3]


def test_filter_gives_what_it_drops_no_gradient(layer):
    net = layer("Filter", "", (4, 3), (4, 2), (4, 1, 1), tops=2)
    assert net.shapes["t0"] == (4, 3)  # the selector's values are not known yet
    x, z = noise(4, 3), noise(4, 2)
    tops = net(a=x, b=z, c=torch.tensor([0.0, 5, 0, -1]).reshape(4, 1, 1))
    assert torch.equal(tops["t0"], x[[1, 3]]) and torch.equal(tops["t1"], z[[1, 3]])
    tops["t0"].sum().backward()
    assert x.grad[:, 0].tolist() == [0, 1, 0, 1]
    assert net(a=x, b=z, c=torch.zeros(4, 1, 1))["t0"].shape == (0, 3)


@pytest.mark.parametrize("index", [4, -1])
def test_an_index_out_of_range_is_named(layer, index):
    for net in (
        layer("Embed", "embed_param { input_dim: 4 num_output: 2 }", (2,)),
        layer("BatchReindex", "", (4, 2), (2,)),
    ):
        inputs = {"a": torch.zeros(4, 2), "b": torch.tensor([0.0, index])}
        if len(net.inputs) == 1:
            inputs = {"a": inputs["b"]}
        with pytest.raises(NetError, match="index out of range") as caught:
            net(**inputs)
        assert (caught.value.found, caught.value.expected) == ([index], "0 to 3")


@pytest.mark.parametrize(
    ("kind", "fields", "shapes", "message"),
    [
        ("ArgMax", "argmax_param { axis: 1 top_k: 8 }", [(5, 7)], "top_k out of range"),
        ("ArgMax", "argmax_param { top_k: 0 }", [(5, 7)], "top_k out of range"),
        ("Embed", "embed_param { input_dim: 4 }", [(3,)], "must be positive"),
        ("BatchReindex", "", [(3, 2), (4, 1)], "one axis"),
        ("Filter", "", [(3, 2), (3, 2)], "one value per batch item"),
        ("Filter", "", [(3, 2), (4,)], "same batch size"),
        ("Filter", "", [(3, 2), (3, 2), (3,)], "a top for every bottom"),
    ],
)
def test_impossible_layers_are_refused(layer, kind, fields, shapes, message):
    with pytest.raises(NetError, match=message):
        layer(kind, fields, *shapes)
