"""Renames the values of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto


def rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Gives values the blobs' names; other values with such a name get a different one."""
    graph = model.graph
    names = {name: f"{name}.inner" for name in names.values()} | dict(names)
    values: list[ValueInfoProto | TensorProto] = [*graph.input, *graph.output, *graph.value_info]
    for value in (*values, *graph.initializer):
        value.name = names.get(value.name, value.name)
    rename_in(graph.node, names)


def rename_in(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> None:
    """Renames what nodes read and write, including nodes in loop bodies."""
    for node in nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                rename_in(attribute.g.node, names)
                for output in attribute.g.output:
                    output.name = names.get(output.name, output.name)
