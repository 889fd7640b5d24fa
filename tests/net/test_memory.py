"""Nets that are too large: refused before memory is taken, with the layer, the need and what there is."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError, UsageError
from rlossctl.net import build_net, memory
from rlossctl.net.kept import kept_for_backward
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.prototxt.text import parse_net

CONVOLUTION = """input: "x" input_shape {{ dim: 1 dim: 3 dim: 8 dim: 8 }}
layer {{ name: "small" type: "Convolution" bottom: "x" top: "s"
  convolution_param {{ num_output: 2 kernel_size: 1 }} }}
layer {{ name: "wide" type: "Convolution" bottom: "s" top: "w"
  convolution_param {{ num_output: {outputs} kernel_size: 3 }} }}
"""


def test_weights_that_no_machine_has(build):
    with pytest.raises(NetError, match=r"'wide' .*more memory than there is") as caught:
        build(CONVOLUTION.format(outputs=2**31))
    assert caught.value.where == "net.prototxt:4"
    weights = 4 * 2**31 * (2 * 9 + 1)
    assert f"{weights / 1e9:,.1f} GB of weights" in caught.value.found and "GB" in caught.value.expected
    assert memory.MAX_MEMORY in caught.value.advice


def test_the_same_net_without_memory(build):
    """Nothing is taken on the meta device, so `inspect` can show what is too large."""
    assert build(CONVOLUTION.format(outputs=2**31), device="meta").shapes["w"] == (1, 2**31, 6, 6)


def test_the_limit_can_be_set(build, monkeypatch):
    net = CONVOLUTION.format(outputs=100)
    need = 4 * (3 * 2 + 2 + 100 * (2 * 9 + 1) + 100 * 36)
    monkeypatch.setenv(memory.MAX_MEMORY, str(need))
    build(net)
    monkeypatch.setenv(memory.MAX_MEMORY, str(need - 1))
    with pytest.raises(NetError, match="more memory than there is"):
        build(net)
    monkeypatch.setenv(memory.MAX_MEMORY, "lots")
    with pytest.raises(UsageError, match="not a number"):
        build(net)


def test_shared_weights_need_memory_once(build, monkeypatch):
    net = CONVOLUTION.format(outputs=100)
    trained = build(net)
    monkeypatch.setenv(memory.MAX_MEMORY, str(4 * 100 * 36))
    build(net, share=trained)


TRAINED = """input: "x" input_shape { dim: 2 dim: 3 dim: 24 dim: 24 }
input: "t" input_shape { dim: 2 dim: 1 dim: 12 dim: 12 }
layer { name: "frozen" type: "Convolution" bottom: "x" top: "f" param { lr_mult: 0 } param { lr_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "conv" type: "Convolution" bottom: "f" top: "c"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "p" top: "p" }
layer { name: "score" type: "Convolution" bottom: "p" top: "s"
  convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "s" bottom: "t" top: "loss" }
"""


def train_net(history: int | None, device: str = "cpu"):
    file = filter_net(parse_net(TRAINED, "net.prototxt"), net_state("TRAIN"))
    return build_net(file, device=device, history=history)


def test_what_the_backward_pass_needs_is_what_torch_allocates():
    net = train_net(None)
    feed = {"x": torch.randn(2, 3, 24, 24), "t": torch.zeros(2, 1, 12, 12)}
    with torch.profiler.profile(profile_memory=True) as profile:
        result = net.run(feed)
    held = sum(
        event.self_cpu_memory_usage for event in profile.key_averages()
    )  # not freed: kept, and the top
    meta = train_net(None, "meta")
    for blob in meta.params["frozen"]:
        blob.requires_grad_(False)
    kept = sum(kept_for_backward(meta.layers, meta.shapes).values())
    assert result.loss.requires_grad and 0.7 * held < kept < 1.3 * held


def test_training_needs_more_than_weights_and_one_blob(monkeypatch):
    weights, learned = 4 * (4 * 28 + 6 * 37 + 35), 4 * (6 * 37 + 35)
    meta = train_net(None, "meta")
    for blob in meta.params["frozen"]:
        blob.requires_grad_(False)
    need = weights + learned + 2 * weights + sum(kept_for_backward(meta.layers, meta.shapes).values())
    monkeypatch.setenv(memory.MAX_MEMORY, str(need))
    train_net(2)
    monkeypatch.setenv(memory.MAX_MEMORY, str(need - 1))
    with pytest.raises(NetError, match="more memory than there is") as caught:
        train_net(2)
    assert "at least to train: 0.0 MB of weights, 0.0 MB of gradients, 0.0 MB of update" in caught.value.found
    assert "that the backward pass needs" in caught.value.found
    train_net(None)


def test_a_machine_has_memory():
    there = memory.available(torch.device("cpu"))
    assert there is None or there > 100_000_000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('input: "x" input_shape {{ dim: {size} dim: 4 }}', "the input 'x'"),
        ('input: "x" input_dim: 1 input_dim: {half} input_dim: {half} input_dim: 2', "the input 'x'"),
        (
            'layer {{ name: "d" type: "Input" top: "x" input_param {{ shape {{ dim: {size} dim: 4 }} }} }}',
            "layer 'd'",
        ),
        (
            'layer {{ name: "d" type: "DummyData" top: "x"'
            " dummy_data_param {{ shape {{ dim: {size} dim: 4 }} }} }}",
            "layer 'd'",
        ),
        (
            'input: "x" input_shape {{ dim: 1 dim: 4 }}'
            ' layer {{ name: "t" type: "Tile" bottom: "x" top: "y" tile_param {{ axis: 1 tiles: {half} }} }}'
            ' layer {{ name: "u" type: "Tile" bottom: "y" top: "z" tile_param {{ axis: 1 tiles: {half} }} }}',
            "layer 'u'",
        ),
        (
            'input: "x" input_shape {{ dim: 1 dim: {half} }}'
            ' layer {{ name: "i" type: "InnerProduct" bottom: "x" top: "y"'
            " inner_product_param {{ num_output: {half} }} }}",
            "layer 'i'",
        ),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_blob_that_cannot_be_counted(build, text, place, device):
    with pytest.raises(NetError, match=f"{place}.*(is too large|cannot)"):
        build(text.format(size=2**62, half=2**31 - 1), device=device)


def test_numbers_that_cannot_be_computed_with(build):
    """A division by the batch of no images, inside a layer's constructor."""
    with pytest.raises(NetError, match=r"layer 'r' .Reshape."):
        build(
            'input: "x" input_shape { dim: 0 dim: 3 } layer { name: "r" type: "Reshape" bottom: "x" top: "y"'
            " reshape_param { shape { dim: 0 dim: -1 } } }"
        )
