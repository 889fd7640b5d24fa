"""The report on an ONNX model; the weights of models with external data stay unread."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from rlossctl.errors import WeightsError
from rlossctl.inspection.report import Report, dims, table

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


def load_onnx(path: Path) -> ModelProto:
    """The model without external data, whose places are checked.

    Raises:
        WeightsError: missing or damaged file, or external data that would be read from outside of its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise WeightsError(
            "cannot be read as an ONNX model",
            where=path,
            found=str(error).split("\n", 1)[0] or type(error).__name__,
            expected="an ONNX model",
            advice="fetch or write the file again",
        ) from error
    if not model.HasField("graph"):
        raise WeightsError("is no ONNX model", where=path, found="no graph", expected="an ONNX model")
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                _check_place(path, tensor.name, entry.value)
    return model


def onnx_report(path: Path) -> Report:
    """Inputs, outputs, operators and metadata."""
    model = load_onnx(path)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    count = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    ends = {
        "inputs": [_value(value) for value in graph.input if value.name not in weights],
        "outputs": [_value(value) for value in graph.output],
    }
    operators = Counter(node.op_type for node in graph.node)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    lines = [
        f"ONNX model {graph.name!r} by {model.producer_name or '?'} {model.producer_version}".rstrip(),
        f"opset           {', '.join(f'{name} {version}' for name, version in opsets.items())}",
        *(f"{name:<15} {', '.join(values)}" for name, values in ends.items()),
        f"weights         {len(weights)} tensors, {count:,} values",
        *(f"metadata        {name}: {text if len(text) < 60 else f'{len(text):,} characters'}"
          for name, text in metadata.items()),
        "",
        *table(("operator", "nodes"), [(name, str(n)) for name, n in operators.most_common()], right=(1,)),
    ]
    content = {"kind": "onnx", "file": str(path), "opset": opsets, **ends, "operators": dict(operators)}
    return Report({**content, "values": count, "metadata": metadata}, lines)


def _value(value: ValueInfoProto) -> str:
    shape = value.type.tensor_type.shape.dim
    return f"{value.name} {dims([dim.dim_param or dim.dim_value for dim in shape])}"


def _check_place(path: Path, tensor: str, location: str) -> None:
    """External data must lie beside the model, whatever system it was written on, and not behind a link."""
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    rooted = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    folder = path.resolve().parent
    if not location or rooted or ".." in parts or not (folder / location).resolve().is_relative_to(folder):
        raise WeightsError(
            "a tensor's external data lies outside of the model's folder",
            where=f"{path}, tensor {tensor!r}",
            found=repr(location),
            expected="the name of a file beside the model",
            advice="do not run this model: fetch it from a source that you trust",
        )
