"""Keeps indices in ONNX graphs as integers, although Caffe's blobs are floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl.converters.verifying.graph_pieces import names_read

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")  # they do not change values


def keep_integers(model: ModelProto) -> ModelProto:
    """The model with inferred types, in which integers that are cast to float and back stay integers.

    A pooling mask is such a value: MaxPool gives int64, the blob is float32, and Upsample needs int64. Half
    precision holds whole numbers only up to 2048, so a mask must not pass through it. The float value stays
    if other nodes read it or if it is an output.
    """
    from onnx import TensorProto, helper, shape_inference

    model = shape_inference.infer_shapes(model)
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    whole: dict[str, str] = {}  # a float value's name -> the name of the integer that it came from
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
    """The target type of a Cast; None for other nodes."""
    if node.op_type != "Cast":
        return None
    return next(entry.i for entry in node.attribute if entry.name == "to")


def _needed(nodes: list[NodeProto], names: set[str]) -> list[NodeProto]:
    """The nodes that these values depend on, in order."""
    kept, names = [], set(names)
    for node in reversed(nodes):
        if not names.isdisjoint(node.output):
            kept.append(node)
            names.update(names_read([node]))
    return kept[::-1]
