"""What a graph needs before ONNX Runtime's quantizer gets it, and the nodes that stay in float32 always."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LINEAR = ("Conv", "ConvTranspose", "Gemm")  # with one scale for each output channel of their weights
WITH_CONSTANTS = ("Add", "BatchNormalization", "Div", "MatMul", "Mul", "Sub")


def with_constants(model: ModelProto) -> list[str]:
    """Names of nodes that compute with constants but are not LINEAR: scales, biases, bins of a pooling.

    Their constants would get one scale for all channels, which costs much precision; and since they are a
    thousandth of a net's arithmetic, eight bits would not make it faster.
    """
    constants = {entry.name for entry in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in WITH_CONSTANTS and constants.intersection(node.input)
    ]


def give_whole_sizes(model: ModelProto) -> None:
    """Gives every Resize the sizes of all four axes.

    ONNX Runtime (1.31) moves quantized nodes to channels last, and then takes the sizes of chosen axes for
    those of all: "Number of elements of input 'sizes' (0) does not match the number of axes (2)".
    """
    from onnx import helper

    nodes: list[NodeProto] = []
    for node in model.graph.node:
        axes = [attribute for attribute in node.attribute if attribute.name == "axes"]
        if node.op_type == "Resize" and axes and list(axes[0].ints) == [2, 3] and len(node.input) > 3:
            names = [f"{node.name}/{name}" for name in ("front", "sizes of all axes")]
            nodes.append(helper.make_node("Shape", node.input[:1], names[:1], names[0], start=0, end=2))
            nodes.append(helper.make_node("Concat", [names[0], node.input[3]], names[1:], names[1], axis=0))
            node.input[3] = names[1]
            node.attribute.remove(axes[0])
        twin = type(node)()
        twin.CopyFrom(node)
        nodes.append(twin)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
