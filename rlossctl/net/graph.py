"""Turns a filtered NetParameter into nodes: checks names, adds automatic tops, resolves loss weights.

This is Caffe's Net::Init without tensors. Blob names are values, not storage: an in-place layer rebinds its
name.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlossctl.errors import NetError
from rlossctl.net import registry
from rlossctl.net.outline import layer_error
from rlossctl.prototxt.messages import LayerParameter, Phase
from rlossctl.prototxt.text import NetFile

AUTOMATIC = "(automatic)"


@dataclass(frozen=True)
class Node:
    """One layer of the graph before it is built.

    Attributes:
        tops: automatic tops included, named "(automatic)", "(automatic)#1", ...
        loss_weights: one per top.
        blocked: bottoms that get no gradient because of propagate_down: false.
        where: file:line.
    """

    name: str
    kind: registry.LayerKind
    message: LayerParameter
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    loss_weights: tuple[float, ...]
    blocked: frozenset[int]
    where: str


class NodeView:
    """What anything that belongs to a node shows of it."""

    node: Node

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def type(self) -> str:
        return self.node.kind.type

    @property
    def bottoms(self) -> tuple[str, ...]:
        return self.node.bottoms

    @property
    def tops(self) -> tuple[str, ...]:
        return self.node.tops

    @property
    def message(self) -> LayerParameter:
        return self.node.message


@dataclass(frozen=True)
class Graph:
    """Nodes in order, the net-level inputs, and the outputs (blobs that no layer reads, in Caffe's order)."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def build_graph(net: NetFile) -> Graph:
    """Checks the wiring of a filtered net.

    Raises:
        NetError: unknown types (all at once), unknown or duplicate blobs, wrong counts.
    """
    layers = net.param.layer
    registry.require((layer.type, layer.name, net.where(index)) for index, layer in enumerate(layers))
    available = dict.fromkeys(net.param.input)
    written = set(available)
    automatic = 0
    nodes = []
    for index, layer in enumerate(layers):
        node, automatic = _node(layer, net.where(index), automatic)
        _check_wiring(node, written, net)
        for bottom in node.bottoms:
            available.pop(bottom, None)
        for top in node.tops:
            written.add(top)
            if not top.startswith(AUTOMATIC):
                available[top] = None
        nodes.append(node)
    return Graph(tuple(nodes), tuple(net.param.input), tuple(sorted(available)))


def _node(layer: LayerParameter, where: str, automatic: int) -> tuple[Node, int]:
    kind = registry.lookup(layer.type)
    tops = list(layer.top)
    while len(tops) < kind.automatic_tops:
        tops.append(AUTOMATIC if automatic == 0 else f"{AUTOMATIC}#{automatic}")
        automatic += 1
    _check_count(layer, where, "bottom", len(layer.bottom), kind.bottoms)
    _check_count(layer, where, "top", len(tops), kind.tops)
    blocked = _blocked(layer, where)
    weights = _loss_weights(layer, where, kind, len(tops))
    return Node(layer.name, kind, layer, tuple(layer.bottom), tuple(tops), weights, blocked, where), automatic


def _loss_weights(
    layer: LayerParameter, where: str, kind: registry.LayerKind, tops: int
) -> tuple[float, ...]:
    given = list(layer.loss_weight)
    if not given:
        return (kind.loss_weight,) + (0.0,) * (tops - 1) if tops else ()
    if len(given) != tops:
        raise _error(layer, where, "loss_weight must be given once per top", len(given), tops)
    return tuple(given)


def _blocked(layer: LayerParameter, where: str) -> frozenset[int]:
    given = layer.propagate_down
    if given and len(given) != len(layer.bottom):
        raise _error(
            layer, where, "propagate_down must be given once per bottom", len(given), len(layer.bottom)
        )
    return frozenset(index for index, flag in enumerate(given) if not flag)


def _check_count(
    layer: LayerParameter, where: str, what: str, count: int, allowed: tuple[int, int | None]
) -> None:
    low, high = allowed
    if count < low or (high is not None and count > high):
        expected = str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
        raise _error(layer, where, f"wrong number of {what} blobs", count, expected)


def _check_wiring(node: Node, written: set[str], net: NetFile) -> None:
    for bottom in node.bottoms:
        if bottom not in written:
            phase = Phase.Name(net.param.state.phase)
            maker = net.filtered.get(bottom)
            raise layer_error(
                node.name,
                node.kind.type,
                node.where,
                f"bottom {bottom!r} is not a top of any earlier layer",
                found=bottom,
                expected="the top of an earlier layer or a net input",
                advice=maker
                and f"{maker} makes it, but its rules keep it out of phase {phase}: take another "
                "phase, or give the net a layer that makes it in this one",
            )
    for index, top in enumerate(node.tops):
        in_place = index < len(node.bottoms) and node.bottoms[index] == top
        if top in written and not in_place:
            raise _error(
                node.message,
                node.where,
                f"top {top!r} is already the top of an earlier layer",
                top,
                "a new name, or the name of the same layer's bottom of that index (in-place)",
            )
        if top in node.tops[:index]:
            raise _error(node.message, node.where, f"top {top!r} is named twice", top, "distinct names")


def _error(layer: LayerParameter, where: str, message: str, found: object, expected: object) -> NetError:
    return layer_error(layer.name, layer.type, where, message, found=found, expected=expected)
