"""Caffe's include and exclude rules."""

from __future__ import annotations

import pytest

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.phase import filter_net, net_state


def kept(rules: str, state) -> bool:
    net = parse_net(f'layer {{ name: "a" {rules} }}')
    return bool(filter_net(net, state).param.layer)


@pytest.mark.parametrize(
    ("rules", "train", "test"),
    [
        ("", True, True),
        ("include { phase: TRAIN }", True, False),
        ("include { phase: TEST }", False, True),
        ("exclude { phase: TRAIN }", False, True),
        ("include { phase: TRAIN } include { phase: TEST }", True, True),
        ("exclude { phase: TRAIN } exclude { phase: TEST }", False, False),
        ("include { }", True, True),
        ("exclude { }", False, False),
    ],
)
def test_phases(rules, train, test):
    assert kept(rules, net_state("TRAIN")) is train
    assert kept(rules, net_state("TEST")) is test


@pytest.mark.parametrize(
    ("rules", "levels"),
    [
        ("include { min_level: 1 }", {1, 2, 3}),
        ("include { max_level: 2 }", {0, 1, 2}),
        ("include { min_level: 1 max_level: 2 }", {1, 2}),
        ("exclude { min_level: 2 }", {0, 1}),
    ],
)
def test_levels(rules, levels):
    assert {level for level in range(4) if kept(rules, net_state("TRAIN", level=level))} == levels


def test_a_rule_needs_all_of_its_stages_and_none_of_its_not_stages():
    rule = 'include { stage: "a" stage: "b" not_stage: "c" }'
    assert kept(rule, net_state("TRAIN", stages=("a", "b")))
    assert kept(rule, net_state("TRAIN", stages=("b", "d", "a")))
    assert not kept(rule, net_state("TRAIN", stages=("a",)))
    assert not kept(rule, net_state("TRAIN", stages=("a", "b", "c")))


def test_every_condition_of_a_rule_must_hold():
    rule = 'include { phase: TRAIN min_level: 1 stage: "a" }'
    assert kept(rule, net_state("TRAIN", level=1, stages=("a",)))
    assert not kept(rule, net_state("TEST", level=1, stages=("a",)))
    assert not kept(rule, net_state("TRAIN", level=0, stages=("a",)))


def test_states_are_merged_and_stages_add_up():
    override = parse_net('state { level: 2 stage: "b" }').param.state
    state = net_state("TRAIN", override, stages=("a",))
    assert (state.phase, state.level, sorted(state.stage)) == (0, 2, ["a", "b"])


def test_both_kinds_of_rules_are_refused_with_the_line():
    net = parse_net('name: "n"\nlayer { name: "a"\n include { } exclude { } }', "net.prototxt")
    with pytest.raises(PrototxtError, match=r"net\.prototxt:2: layer 'a' has include and exclude rules"):
        filter_net(net, net_state("TRAIN"))


def test_the_lines_of_the_layers_that_stay_are_kept():
    net = parse_net('layer { name: "a" include { phase: TEST } }\nlayer { name: "b" }', "net.prototxt")
    train = filter_net(net, net_state("TRAIN"))
    assert [layer.name for layer in train.param.layer] == ["b"]
    assert train.where(0) == "net.prototxt:2"
    assert len(net.param.layer) == 2
