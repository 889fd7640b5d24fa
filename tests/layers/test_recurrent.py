"""LSTM and RNN where no recording exists: static inputs, memory between passes, refusals."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

LSTM = """
input: "x" input_shape { dim: 3 dim: 2 dim: 5 }
input: "c" input_shape { dim: 3 dim: 2 }
input: "s" input_shape { dim: 2 dim: 4 }
layer { name: "l" type: "LSTM" bottom: "x" bottom: "c" bottom: "s" top: "y"
  recurrent_param { num_output: 3 weight_filler { type: "uniform" min: -1 max: 1 }
    bias_filler { type: "uniform" } } }
"""
RNN = LSTM.replace('type: "LSTM"', 'type: "RNN"')


def without_static(text: str) -> str:
    return text.replace('bottom: "s" top', "top").replace('input: "s" input_shape { dim: 2 dim: 4 }', "")


def inputs(steps: int = 3, batch: int = 2) -> dict[str, torch.Tensor]:
    x = torch.randn((steps, batch, 5), generator=torch.Generator().manual_seed(0))
    return {"x": x, "c": torch.ones(steps, batch)}


def test_rnn_with_a_static_input(build):
    net = build(RNN)
    w_x, b, w_s, w_h, w_o, b_o = net.params["l"]
    assert [tuple(blob.shape) for blob in (w_x, b, w_s, w_h, w_o, b_o)] == [
        (3, 5),
        (3,),
        (3, 4),
        (3, 3),
        (3, 3),
        (3,),
    ]
    feed = inputs() | {"s": torch.randn(2, 4)}
    h, expected = torch.zeros(2, 3), []
    for x in feed["x"]:
        h = torch.tanh(x @ w_x.T + b + feed["s"] @ w_s.T + h @ w_h.T)
        expected.append(torch.tanh(h @ w_o.T + b_o))
    torch.testing.assert_close(net(**feed)["y"], torch.stack(expected))


def test_lstm_with_a_static_input(build):
    net = build(LSTM)
    w_x, b, w_s, w_h = net.params["l"]
    feed = inputs() | {"s": torch.randn(2, 4)}
    h = c = torch.zeros(2, 3)
    expected = []
    for x in feed["x"]:
        i, f, o, g = (x @ w_x.T + b + feed["s"] @ w_s.T + h @ w_h.T).split(3, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        expected.append(h)
    torch.testing.assert_close(net(**feed)["y"], torch.stack(expected))


@pytest.mark.parametrize("text", [LSTM, RNN], ids=["lstm", "rnn"])
def test_memory_lasts_until_cont_or_the_batch_size_says_otherwise(build, text):
    net = build(without_static(text))
    first, second = net(**inputs())["y"], net(**inputs())["y"]
    assert not torch.equal(first, second)
    fresh = inputs()
    fresh["c"][0] = 0
    torch.testing.assert_close(net(**fresh)["y"], first)
    alone = net(**inputs(batch=1))["y"]
    torch.testing.assert_close(net(**inputs(batch=2))["y"], first)
    torch.testing.assert_close(net(**inputs(batch=1))["y"], alone)


def test_no_gradient_passes_from_one_pass_to_another(build):
    net = build(without_static(LSTM))
    feed = inputs()
    feed["x"].requires_grad_()
    net(**feed)
    net(**inputs())["y"].sum().backward()
    assert feed["x"].grad is None


def test_expose_hidden_adds_bottoms_and_tops(build):
    text = without_static(LSTM).replace("num_output: 3", "num_output: 3 expose_hidden: true")
    with pytest.raises(NetError, match="wrong number of bottoms or tops") as caught:
        build(text)
    assert "4 bottoms" in caught.value.expected and "3 tops" in caught.value.expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"c" input_shape { dim: 3 dim: 2 }', '"c" input_shape { dim: 3 dim: 1 }', "do not match"),
        ('"s" input_shape { dim: 2 dim: 4 }', '"s" input_shape { dim: 3 dim: 4 }', "do not match"),
        ("num_output: 3", "", "num_output must be given"),
    ],
)
def test_refusals(build, old, new, message):
    text = LSTM
    assert old in text
    with pytest.raises(NetError, match=message):
        build(text.replace(old, new))


def test_lstm_unit_sizes(build):
    text = (
        'input: "h" input_shape { dim: 1 dim: 2 dim: 3 } input: "g" input_shape { dim: 1 dim: 2 dim: 9 }\n'
        'input: "c" input_shape { dim: 1 dim: 2 }\n'
        'layer { name: "l" type: "LSTMUnit" bottom: "h" bottom: "g" bottom: "c" top: "a" top: "b" }'
    )
    with pytest.raises(NetError, match="do not match"):
        build(text)
