"""The report on an ONNX model; external data is not read."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.inspection.report import Report, dims, table
from rlossctl.weights.onnxfile import load_onnx
from rlossctl.words import counted

if TYPE_CHECKING:
    from onnx import ValueInfoProto


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
        f"weights         {counted(len(weights), 'tensor')}, {counted(count, 'value')}",
        *(
            f"metadata        {name}: {text if len(text) < 60 else f'{len(text):,} characters'}"
            for name, text in metadata.items()
        ),
        "",
        *table(("operator", "nodes"), [(name, str(n)) for name, n in operators.most_common()], right=(1,)),
    ]
    content = {"kind": "onnx", "file": str(path), "opset": opsets, **ends, "operators": dict(operators)}
    return Report({**content, "values": count, "metadata": metadata}, lines)


def _value(value: ValueInfoProto) -> str:
    shape = value.type.tensor_type.shape.dim
    return f"{value.name} {dims([dim.dim_param or dim.dim_value for dim in shape])}"
