"""Which layers of a net belong to a state: Caffe's include and exclude rules (Net::FilterNet)."""

from __future__ import annotations

from dataclasses import replace

from rlossctl.errors import PrototxtError, RlossError
from rlossctl.prototxt.messages import LayerParameter, NetParameter, NetState, NetStateRule, Phase
from rlossctl.prototxt.text import NetFile


def net_state(phase: str, *overrides: NetState, level: int = 0, stages: tuple[str, ...] = ()) -> NetState:
    """A NetState: the phase, then each override merged over it (stages accumulate, as in Caffe)."""
    state = NetState()
    state.phase = phase_number(phase)
    for override in overrides:
        state.MergeFrom(override)
    if level:
        state.level = level
    state.stage.extend(stages)
    return state


def phase_number(name: str) -> Phase:
    """The value of a Phase field for "TRAIN" or "TEST" (any case)."""
    try:
        return Phase.Value(name.upper())
    except ValueError:
        raise RlossError("unknown phase", found=name, expected="TRAIN or TEST") from None


def filter_net(net: NetFile, state: NetState) -> NetFile:
    """Keeps the layers that the state includes.

    A layer without rules is kept. With exclude rules it is left out if any rule matches; with include rules
    it is kept if any rule matches.

    Raises:
        PrototxtError: a layer has both kinds of rules.
    """
    param = NetParameter()
    param.CopyFrom(net.param)
    del param.layer[:]
    lines = []
    filtered = {}
    for index, layer in enumerate(net.param.layer):
        if layer.include and layer.exclude:
            raise PrototxtError(
                f"layer {layer.name!r} has include and exclude rules",
                where=net.where(index),
                found=f"{len(layer.include)} include, {len(layer.exclude)} exclude",
                expected="one kind",
                advice="write the condition with include or exclude alone",
            )
        if included(layer, state):
            param.layer.add().CopyFrom(layer)
            lines.append(net.lines[index] if index < len(net.lines) else 0)
        else:
            filtered.update(dict.fromkeys(layer.top, f"layer {layer.name!r} ({net.where(index)})"))
    param.state.CopyFrom(state)
    return replace(net, param=param, lines=tuple(lines), filtered=filtered)


def included(layer: LayerParameter, state: NetState) -> bool:
    """Whether the state keeps the layer."""
    if layer.include:
        return any(matches(rule, state) for rule in layer.include)
    return not any(matches(rule, state) for rule in layer.exclude)


def matches(rule: NetStateRule, state: NetState) -> bool:
    """Whether the state meets all conditions of a NetStateRule."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )
