"""How much memory the values of an ONNX graph need, from its shapes."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import WeightsError
from rlossctl.weights.onnxfile import load_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_BYTES = {7: 8, 11: 8, 10: 2, 2: 1, 3: 1, 9: 1}  # TensorProto's types that do not take 4


def bytes_per_pixel(path: Path, name: str, shape: tuple[int, ...], pixels: int) -> float | None:
    """Bytes of the values alive at once, at the worst moment of a pass, for each pixel of the image.

    Args:
        path: the model.
        name: the image's input.
        shape: a shape of the image that the model takes.
        pixels: the number of its pixels.

    Returns:
        None if the file cannot be read or its shapes cannot be inferred.
    """
    import onnx

    try:
        model = load_onnx(path)
        _fix_input(model, name, shape)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (WeightsError, ValueError, RuntimeError):  # more than 2 GB, or operators that onnx does not know
        return None
    sizes = _sizes(inferred)
    known = sum(top in sizes for node in inferred.node for top in node.output)
    return None if 2 * known < len(inferred.node) else _peak(inferred, sizes) / pixels


def _fix_input(model: ModelProto, name: str, shape: tuple[int, ...]) -> None:
    """States the image's shape, and forgets what the file says about later ones."""
    for entry in model.graph.input:
        if entry.name == name:
            for dimension, size in zip(entry.type.tensor_type.shape.dim, shape, strict=True):
                dimension.dim_value = size
    del model.graph.value_info[:]
    for entry in model.graph.output:
        entry.type.tensor_type.ClearField("shape")


def _sizes(graph: GraphProto) -> dict[str, int]:
    """Bytes of each value whose shape is known."""
    sizes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        dimensions = [dimension.dim_value for dimension in kind.shape.dim]
        if dimensions and all(dimensions):
            sizes[value.name] = prod(dimensions) * _BYTES.get(kind.elem_type, 4)
    return sizes


def _peak(graph: GraphProto, sizes: dict[str, int]) -> int:
    last = {name: number for number, node in enumerate(graph.node) for name in node.input}
    kept = {entry.name for entry in graph.output}
    alive = {entry.name: sizes.get(entry.name, 0) for entry in graph.input}
    peak = 0
    for number, node in enumerate(graph.node):
        alive |= {top: sizes.get(top, 0) for top in node.output}
        peak = max(peak, sum(alive.values()))
        for name in (*node.input, *node.output):
            if name not in kept and last.get(name, -1) <= number:
                alive.pop(name, None)
    return peak
