"""What a graph needs before ONNX Runtime's quantizer gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


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
