"""The report on an ONNX model; external data is read only to find values that are not finite."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.inspection.report import Report, dims, table
from rlossctl.weights import provenance
from rlossctl.weights.finite import describe
from rlossctl.weights.onnxfile import load_onnx, not_finite_tensors
from rlossctl.words import counted

if TYPE_CHECKING:
    from onnx import ValueInfoProto

CARD = "rlossctl"  # the key of that description


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
    broken = not_finite_tensors(path, model)
    source = _source(metadata.get(CARD, ""))
    lines = [
        f"ONNX model {graph.name!r} by {model.producer_name or '?'} {model.producer_version}".rstrip(),
        f"opset           {', '.join(f'{name} {version}' for name, version in opsets.items())}",
        *(f"{name:<15} {', '.join(values)}" for name, values in ends.items()),
        f"weights         {counted(len(weights), 'tensor')}, {counted(count, 'value')}",
        *provenance.lines(source),
        *(
            f"metadata        {name}: {text if len(text) < 60 else f'{len(text):,} characters'}"
            for name, text in metadata.items()
        ),
        *([f"NOT FINITE      {counted(len(broken), 'tensor')}: {describe(broken)}"] if broken else []),
        "",
        *table(("operator", "nodes"), [(name, str(n)) for name, n in operators.most_common()], right=(1,)),
    ]
    content: dict[str, object] = {
        "kind": "onnx",
        "file": str(path),
        "opset": opsets,
        **ends,
        "operators": dict(operators),
    }
    content["source"] = source
    content["not_finite"] = [each._asdict() for each in broken]
    return Report({**content, "values": count, "metadata": metadata}, lines)


def _source(card: str) -> provenance.Facts:
    """What the description that `rlossctl convert` puts into a model says of its origin."""
    try:
        return provenance.read(json.dumps(json.loads(card)["source"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}


def _value(value: ValueInfoProto) -> str:
    shape = value.type.tensor_type.shape.dim
    return f"{value.name} {dims([dim.dim_param or dim.dim_value for dim in shape])}"
