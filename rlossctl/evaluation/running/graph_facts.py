"""What the nodes of an ONNX graph tell about its output: class ids, probabilities or scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlossctl.errors import WeightsError
from rlossctl.weights.onnxfile import load_onnx

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Operators after which values still mean the same.
_NEUTRAL = (
    *("Cast", "CastLike", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Flatten"),
    *("Resize", "Upsample", "Slice", "Crop", "Clip", "Dropout", "DequantizeLinear", "QuantizeLinear"),
)
_IDS = ("ArgMax", "TopK")
_YES_OR_NO = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "Xor")
_PROBABILITIES = ("Softmax", "Sigmoid", "HardSigmoid")

Kind = Literal["ids", "probabilities", "scores"]


@dataclass(frozen=True)
class Ending:
    """What an output holds.

    Attributes:
        kind: class ids, probabilities, or scores (anything else).
        classes: how many classes the ids are of, or None if the graph does not tell.
    """

    kind: Kind = "scores"
    classes: int | None = None


@dataclass(frozen=True)
class GraphFacts:
    """What a file's graph tells; for a graph that cannot be read, nothing.

    Attributes:
        endings: by the output's name.
        channels_last: inputs whose first operator moves the last axis to the front.
    """

    endings: dict[str, Ending]
    channels_last: frozenset[str] = frozenset()

    def ending(self, output: str) -> Ending:
        """What this output holds."""
        return self.endings.get(output, Ending())


def read_facts(path: Path) -> GraphFacts:
    """Reads the graph of a file that a session has already opened."""
    try:
        model = load_onnx(path)
    except WeightsError:
        return GraphFacts({})
    graph = model.graph
    makers = {top: node for node in graph.node for top in node.output}
    endings = {entry.name: _ending(model, makers, entry.name) for entry in graph.output}
    moved = frozenset(
        node.input[0]
        for node in graph.node
        if node.op_type == "Transpose" and _attribute(node, "perm") == [0, 3, 1, 2]
    )
    return GraphFacts(endings, moved)


def _ending(model: ModelProto, makers: dict[str, NodeProto], name: str) -> Ending:
    while name in makers:
        node = makers[name]
        if node.op_type in _IDS:
            axis = _attribute(node, "axis")
            last = -1 if node.op_type == "TopK" else 0
            return Ending("ids", _channels(model, makers, node.input[0], last if axis is None else int(axis)))
        if node.op_type in _YES_OR_NO:
            return Ending("ids", 2)
        if node.op_type in _PROBABILITIES:
            return Ending("probabilities")
        if node.op_type not in _NEUTRAL:
            break
        name = node.input[0]
    return Ending()


def _channels(model: ModelProto, makers: dict[str, NodeProto], name: str, axis: int) -> int | None:
    """The length of one axis of an inner value, from shape inference or from the convolution that made it."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        for value in (*inferred.value_info, *inferred.output, *inferred.input):
            sizes = value.type.tensor_type.shape.dim
            if value.name == name and -len(sizes) <= axis < len(sizes) and sizes[axis].dim_value:
                return int(sizes[axis].dim_value)
    except (ValueError, RuntimeError):  # a graph of more than 2 GB, or operators that onnx does not know
        pass
    return _from_convolution(model, makers, name)


def _from_convolution(model: ModelProto, makers: dict[str, NodeProto], name: str) -> int | None:
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    while name in makers and makers[name].op_type in (*_NEUTRAL, *_PROBABILITIES, "LogSoftmax"):
        name = makers[name].input[0]
    node = makers.get(name)
    if node is None or node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in sizes:
        return None
    weights = sizes[node.input[1]]
    return weights[0] if node.op_type == "Conv" else weights[1] * int(_attribute(node, "group") or 1)


def _attribute(node: NodeProto, name: str) -> Any:
    import onnx

    return next(
        (onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), None
    )
