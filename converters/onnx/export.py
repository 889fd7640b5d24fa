"""Runs torch.onnx.export on a net's deployed part: one graph whose values have the blobs' names."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlossctl.errors import NetError
from rlossctl.net.deploy import Deploy
from rlossctl.net.values import Value, named_values

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 18
AXES = {0: "batch", 2: "height", 3: "width"}
_END = "rlossctl.end."  # prefix of the names of inputs and outputs during the export


def export(deploy: Deploy, size: tuple[int, int], *, dynamic: bool) -> tuple[ModelProto, list[Value]]:
    """The deployed part as an ONNX graph.

    During torch's export, every blob is an output, so that it stays a separate value and gets its name.
    Afterwards, only the net's outputs remain outputs of the graph.

    Args:
        size: height and width of the example image.
        dynamic: whether height and width may vary (the batch always may).

    Returns:
        The model, and the values that are in the graph under their names, in order.

    Raises:
        NetError: torch cannot export a layer.
    """
    values = named_values(deploy)
    axes = AXES if dynamic else {0: "batch"}
    model = _torch_export(_AllValues(deploy, values), (2, deploy.input_shape[1], *size), axes, len(values))
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset != OPSET:
        raise NetError("was exported with another opset", found=opset, expected=OPSET)
    _name_axes(model, axes)
    names = {model.graph.input[0].name: deploy.input_name}
    owners = {}  # every name of a tensor -> its name in the graph
    for output, value in zip(model.graph.output, values, strict=True):
        names.setdefault(output.name, value.name)
        owners.update(dict.fromkeys(value.names, names[output.name]))
    rename(model, names)
    _leave_outputs(model, deploy, owners)
    kept = set(names.values())
    return model, [value for value in values if value.name in kept]


class _AllValues(nn.Module):
    """The deployed part with every value as an output."""

    def __init__(self, deploy: Deploy, values: Sequence[Value]) -> None:
        super().__init__()
        self.deploy = deploy
        self.places = [(value.number, value.top) for value in values]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        made = {
            (step.number, index): top
            for step in self.deploy.walk(image)
            for index, top in enumerate(step.tops)
        }
        return tuple(made[place] for place in self.places)


def _torch_export(
    module: nn.Module, shape: tuple[int, ...], axes: Mapping[int, str], outputs: int
) -> ModelProto:
    for name in ("torch.onnx", "torch.fx", "torch.export"):  # they log every step
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's exporter warns about its own deprecated parts
            program = torch.onnx.export(
                module.eval(),
                (torch.zeros(shape),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[f"{_END}in"],
                output_names=[f"{_END}{number}" for number in range(outputs)],
                dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),),
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
    return program.model_proto


def _reason(error: Exception) -> str:
    """The line in torch's long report that says what is wrong."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    summary = [number for number, line in enumerate(lines) if line.startswith("## Exception summary")]
    chosen = lines[summary[0] + 1 :][:2] if summary else lines[:1]
    return " ".join(chosen)[:300] or type(error).__name__


def rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Gives values the blobs' names; other values with such a name get a different one."""
    graph = model.graph
    names = {name: f"{name}.inner" for name in names.values()} | dict(names)
    values: list[ValueInfoProto | TensorProto] = [*graph.input, *graph.output, *graph.value_info]
    for value in (*values, *graph.initializer):
        value.name = names.get(value.name, value.name)
    _rename_in(graph.node, names)


def _rename_in(nodes: Sequence[NodeProto], names: Mapping[str, str]) -> None:
    """Renames what nodes read and write, including nodes in loop bodies."""
    for node in nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_in(attribute.g.node, names)
                for output in attribute.g.output:
                    output.name = names.get(output.name, output.name)


def _leave_outputs(model: ModelProto, deploy: Deploy, owners: Mapping[str, str]) -> None:
    """Keeps the deployed part's outputs; others become inner values. A tensor with two names is copied."""
    from onnx import helper

    graph = model.graph
    found = {output.name: type(output).FromString(output.SerializeToString()) for output in graph.output}
    del graph.output[:]
    graph.value_info.extend(value for name, value in found.items() if name not in deploy.output_names)
    for name in deploy.output_names:
        source = owners.get(name, deploy.input_name)
        if source != name:
            graph.node.append(helper.make_node("Identity", [source], [name]))
        graph.output.add().CopyFrom(found.get(source, graph.input[0]))
        graph.output[-1].name = name


def _name_axes(model: ModelProto, axes: Mapping[int, str]) -> None:
    """Renames torch's symbols (s77) to the axes that they measure, also inside expressions."""
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    names = {dimensions[axis].dim_param: name for axis, name in axes.items()}
    symbol = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names if name) or r"(?!)")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):
                text = symbol.sub(lambda match: names[match[0]], dimension.dim_param)
                dimension.dim_param = text
