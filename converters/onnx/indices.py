"""Indices in ONNX graphs: Caffe's blobs are floats, so whole numbers pass through floats on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl.converters.verifying.graph_pieces import names_read

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")  # they change no value


def keep_whole(model: ModelProto) -> ModelProto:
    """The model with types of its values, where integers that become floats and integers again stay integers.

    A pooling mask is such a value: int64 as MaxPool gives it, float32 as a blob, int64 where Upsample needs
    it. Half precision holds whole numbers up to 2048 only, so the way must not lead through it. The float
    stays where anything else reads it, and where it is an output.
    """
    from onnx import TensorProto, helper, shape_inference

    model = shape_inference.infer_shapes(model)
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    whole: dict[str, str] = {}  # a float's name -> that of the integer it was
    nodes: list[NodeProto] = []
    for node in graph.node:
        source, to = next(iter(node.input), ""), _cast_to(node)
        if to == TensorProto.FLOAT and types.get(source) == TensorProto.INT64:
            whole[node.output[0]] = source
        elif to == TensorProto.INT64 and source in whole:
            node = helper.make_node("Identity", [whole[source]], list(node.output), name=node.name)
        elif node.op_type in MOVES and source in whole:
            twin = type(node).FromString(node.SerializeToString())
            twin.name, twin.input[0], twin.output[0] = (
                f"{node.name}.whole",
                whole[source],
                f"{node.output[0]}.whole",
            )
            whole[node.output[0]] = twin.output[0]
            nodes.append(twin)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(_needed(nodes, {output.name for output in graph.output}))
    return model


def _cast_to(node: NodeProto) -> int | None:
    """The type that a Cast gives; None for other nodes."""
    if node.op_type != "Cast":
        return None
    return next(entry.i for entry in node.attribute if entry.name == "to")


def _needed(nodes: list[NodeProto], names: set[str]) -> list[NodeProto]:
    """The nodes, in order, that lead to some values."""
    kept, names = [], set(names)
    for node in reversed(nodes):
        if not names.isdisjoint(node.output):
            kept.append(node)
            names.update(names_read([node]))
    return kept[::-1]
