"""Layers that do not write themselves as ONNX: torch exports their forwards as a piece of the graph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlossctl.converters.onnx.naming import rename_in
from rlossctl.errors import NetError
from rlossctl.net.onnx_graph import OnnxGraph
from rlossctl.net.walk import LayerNode, last_readers, walk

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
_END = "rlossctl.end."  # prefix of the names of inputs and outputs during the export

Place = tuple[int, int]


class Piece(nn.Module):
    """Consecutive layers as a function of the blobs that they read from outside.

    Args:
        layers: with their numbers.
        wanted: (layer's number, top) of the tensors that a call returns.
    """

    def __init__(self, layers: Sequence[tuple[int, LayerNode]], wanted: Sequence[Place]) -> None:
        super().__init__()
        self.layers, self.wanted = list(layers), list(wanted)
        self.modules_in_order = nn.ModuleList(layer.module for _, layer in layers)
        self.bottoms = _read_from_outside(layer for _, layer in layers)
        self._last = {
            self.layers[place][0]: names
            for place, names in last_readers(layer for _, layer in layers).items()
        }

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        blobs = dict(zip(self.bottoms, bottoms, strict=True))
        made = {
            (step.number, index): top
            for step in walk(self.layers, blobs, self._last)
            for index, top in enumerate(step.tops)
        }
        return tuple(made[place] for place in self.wanted)


def add_piece(
    graph: OnnxGraph,
    piece: Piece,
    sources: Sequence[tuple[str, tuple[int, ...], Sequence[int]]],
    tops: Sequence[str],
) -> None:
    """Exports a piece and adds it to the graph.

    Args:
        sources: for each of its bottoms the value of the graph, an example shape, and the axes that vary.
        tops: names for the values that it returns.

    Raises:
        NetError: torch cannot export a layer.
    """
    shapes = [shape for _, shape, _ in sources]
    model = torch_export(piece, shapes, [axes for _, _, axes in sources], len(tops))
    inputs = (entry.name for entry in model.graph.input)
    names = dict(zip(inputs, (name for name, *_ in sources), strict=True))
    copies = []
    for output, name in zip(model.graph.output, tops, strict=True):
        if names.setdefault(output.name, name) != name:  # one tensor under two names
            copies.append((output.name, name))
    inside = [entry.name for entry in model.graph.initializer]
    inside += [name for node in model.graph.node for name in node.output if name]
    for name in inside:
        if name not in names:
            names[name] = graph.free(f"{graph.layer}/{name}")
    rename_in(model.graph.node, names)
    for node in model.graph.node:
        node.name = graph.free(f"{graph.layer}/{node.op_type}")
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
        graph.weights[tensor.name] = tensor
    graph.nodes.extend(model.graph.node)
    graph.functions.extend(model.functions)
    for source, name in copies:
        graph.copy(names[source], name)


def torch_export(
    module: nn.Module, shapes: Sequence[tuple[int, ...]], varying: Sequence[Sequence[int]], outputs: int
) -> ModelProto:
    """A module as an ONNX model, by torch's own exporter; its inputs and outputs keep their order."""
    for name in ("torch.onnx", "torch.fx", "torch.export"):  # they log every step
        logging.getLogger(name).setLevel(logging.CRITICAL)
    axes = tuple(dict.fromkeys(found, torch.export.Dim.DYNAMIC) for found in varying)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's exporter warns about its own deprecated parts
            program = torch.onnx.export(
                module.eval(),
                tuple(torch.zeros(shape) for shape in shapes),
                dynamo=True,
                opset_version=OPSET,
                input_names=[f"{_END}in{number}" for number in range(len(shapes))],
                output_names=[f"{_END}{number}" for number in range(outputs)],
                dynamic_shapes=(axes,),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many types
        raise NetError(
            "cannot be exported to ONNX",
            found=_reason(error),
            expected="layers that torch.onnx.export supports",
            advice="choose an output before the layer that fails (--output BLOB)",
        ) from error
    if program is None:
        raise NetError("cannot be exported to ONNX", found="an exporter that does not return a program")
    model: ModelProto = program.model_proto
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset != OPSET:
        raise NetError("was exported with another opset", found=opset, expected=OPSET)
    return model


def _read_from_outside(layers: Iterable[LayerNode]) -> list[str]:
    """The blobs that layers read before one of them makes them."""
    made: set[str] = set()
    read: dict[str, None] = {}
    for layer in layers:
        read.update(dict.fromkeys(name for name in layer.bottoms if name not in made))
        made.update(layer.tops)
    return list(read)


def _reason(error: Exception) -> str:
    """The line in torch's long report that says what is wrong."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    summary = [number for number, line in enumerate(lines) if line.startswith("## Exception summary")]
    chosen = lines[summary[0] + 1 :][:2] if summary else lines[:1]
    return " ".join(chosen)[:300] or type(error).__name__
