"""Caffe's automatic Split layers: names, edges and loss weights."""

from __future__ import annotations

import re

import pytest

from rlossctl.prototxt import parse_net
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.prototxt.splits import insert_splits


def split(text: str):
    return insert_splits(parse_net(text).param)


def edges(net) -> list[tuple[str, list[str], list[str]]]:
    return [(layer.name, list(layer.bottom), list(layer.top)) for layer in net.layer]


def test_a_blob_read_twice_is_split():
    net = split(
        'layer { name: "a" type: "Input" top: "x" }'
        'layer { name: "b" type: "ReLU" bottom: "x" top: "y" }'
        'layer { name: "c" type: "ReLU" bottom: "x" top: "z" }'
    )
    assert edges(net) == [
        ("a", [], ["x"]),
        ("x_a_0_split", ["x"], ["x_a_0_split_0", "x_a_0_split_1"]),
        ("b", ["x_a_0_split_0"], ["y"]),
        ("c", ["x_a_0_split_1"], ["z"]),
    ]
    assert net.layer[1].type == "Split"


def test_after_an_in_place_layer_that_layer_is_the_producer():
    net = split(
        'layer { name: "a" type: "Convolution" bottom: "data" top: "x" }'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }'
        'layer { name: "b" type: "ReLU" bottom: "x" top: "y" }'
        'layer { name: "c" type: "ReLU" bottom: "x" top: "z" }'
    )
    assert [layer.name for layer in net.layer] == ["a", "r", "x_r_0_split", "b", "c"]


def test_a_loss_weight_counts_as_a_reader_and_moves_to_the_first_copy():
    net = split(
        'layer { name: "l" type: "SoftmaxWithLoss" bottom: "s" bottom: "t" top: "loss" loss_weight: 2 }'
        'layer { name: "p" type: "Power" bottom: "loss" top: "q" }'
    )
    loss, copies, power = net.layer
    assert list(loss.loss_weight) == [0]
    assert (copies.name, list(copies.loss_weight)) == ("loss_l_0_split", [2, 0])
    assert list(power.bottom) == ["loss_l_0_split_1"]


def test_the_inputs_of_a_net_are_split_too():
    net = split(
        'input: "x"'
        'layer { name: "b" type: "ReLU" bottom: "x" top: "y" }'
        'layer { name: "c" type: "ReLU" bottom: "x" top: "z" }'
    )
    assert edges(net)[0] == ("x_input_0_split", ["x"], ["x_input_0_split_0", "x_input_0_split_1"])


def test_a_net_without_shared_blobs_stays_as_it_is():
    param = parse_net(
        'layer { name: "a" type: "Input" top: "x" } layer { name: "b" type: "ReLU" bottom: "x" top: "x" }'
    ).param
    assert insert_splits(param) == param


@pytest.mark.parametrize("log", ["log_rloss.txt", "log_bvlc.txt"])
@pytest.mark.parametrize(("phase", "which"), [("TRAIN", 0), ("TEST", 1)])
def test_the_graph_is_the_one_that_caffe_logs(shared, log, phase, which):
    """Caffe prints every layer with its bottoms (<-) and tops (->) while it builds the net."""
    folder = shared / "golden" / "logs"
    built = re.split(r"Initializing net from parameters", (folder / log).read_text())[1 + which]
    logged: dict[str, tuple[list[str], list[str]]] = {}
    for line in built.split("\n"):
        if "Creating Layer " in line:
            logged[line.rpartition(" ")[2]] = ([], [])
        elif match := re.search(r"\] (\S+) (<-|->) (\S+)", line):
            logged[match[1]][match[2] == "->"].append(match[3])
    net = parse_net((folder / "net.prototxt").read_text())
    ours = insert_splits(filter_net(net, net_state(phase)).param)
    assert {name: (bottoms, tops) for name, bottoms, tops in edges(ours)} == logged
    assert [layer.name for layer in ours.layer] == list(logged)
    assert any(layer.type == "Split" for layer in ours.layer)
