"""One file's content as a report: a net, a solver, or weights. Used by `rlossctl inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToDict

from rlossctl.prototxt import load_net_file, load_solver_parameter, text
from rlossctl.weights import kinds


@dataclass(frozen=True)
class Report:
    """What was found, as a dict for JSON and as lines for people."""

    content: dict[str, object]
    lines: list[str]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return self.content

    def as_text(self) -> str:
        """For a terminal."""
        return "\n".join(self.lines)


def inspect(
    path: Path,
    placeholders: Mapping[str, object],
    phase: str | None = None,
    dialect: str = "auto",
    image_shape: tuple[int, int, int] | None = None,
) -> Report:
    """Reads `path`: prototxt text is a net or a solver, everything else is weights.

    `image_shape` is for nets whose data layers would look at their images to know the size.

    Raises:
        PrototxtError, NetError, WeightsError: as the readers raise them.
    """
    if kinds.kind_of(path) != kinds.PROTOTXT:
        return _weights_report(path)
    if text.is_solver(text.read_text(path)):
        return _solver_report(path, placeholders)
    return _net_report(path, placeholders, phase, dialect, {"image_shape": image_shape})


def _net_report(
    path: Path,
    placeholders: Mapping[str, object],
    phase: str | None,
    dialect: str,
    data: Mapping[str, object],
) -> Report:
    from rlossctl.net.build import build_net, load_inference_net
    from rlossctl.net.summary import summarize
    from rlossctl.prototxt.phase import filter_net, net_state

    if phase is None:
        net = load_inference_net(path, device="meta", data=data, placeholders=placeholders, dialect=dialect)
    else:
        file = load_net_file(path, placeholders, dialect)
        net = build_net(filter_net(file, net_state(phase, file.param.state)), device="meta", data=data)
    summary = summarize(net)
    rows = [
        (
            layer.name,
            layer.type,
            " ".join("x".join(map(str, shape)) or "scalar" for shape in layer.shapes) or "-",
            f"{layer.parameters:,}" + (" shared" if layer.shared else "") if layer.parameters else "-",
            f"{layer.multiply_adds / 1e6:,.1f}" if layer.multiply_adds else "-",
            f"{layer.receptive_field:g}" if layer.receptive_field else "-",
        )
        for layer in summary.layers
    ]
    lines = [
        f"net {summary.name!r}, phase {summary.phase}, {len(summary.layers)} layers",
        f"dialect {summary.dialect}: {summary.dialect_reason}",
        *net.file.notes,
        "",
    ]
    lines += table(("layer", "type", "tops", "parameters", "M mult-adds", "field"), rows, right=(3, 4, 5))
    lines += [
        "",
        f"inputs          {', '.join(summary.inputs) or '(data layers)'}",
        f"outputs         {', '.join(summary.outputs) or '-'}",
        f"parameters      {summary.parameters:,} ({size(summary.parameter_bytes)})",
        f"all blobs       {size(summary.blob_bytes)}, if kept at once",
        f"multiply-adds   {summary.multiply_adds / 1e9:,.2f} G per forward pass",
    ]
    return Report({"kind": "net", "file": str(path), **summary.as_dict()}, lines)


def _solver_report(path: Path, placeholders: Mapping[str, object]) -> Report:
    from rlossctl.solver.policies import learning_rate

    param = load_solver_parameter(path, placeholders)
    steps = sorted(
        {0, *(round(param.max_iter * share / 10) for share in range(1, 10)), max(0, param.max_iter - 1)}
    )
    schedule = [(step, learning_rate(param, step)) for step in steps]
    fields = MessageToDict(param, preserving_proto_field_name=True)
    lines = [f"solver, type {param.type}, policy {param.lr_policy}, {param.max_iter} iterations", ""]
    lines += [f"{name:<20}{value}" for name, value in fields.items()]
    lines += [
        "",
        *table(
            ("iteration", "learning rate"), [(str(i), f"{rate:.6g}") for i, rate in schedule], right=(0, 1)
        ),
    ]
    content = {
        "kind": "solver",
        "file": str(path),
        "fields": fields,
        "schedule": [list(pair) for pair in schedule],
    }
    return Report(content, lines)


def _weights_report(path: Path) -> Report:
    from rlossctl.weights import load_caffemodel

    model = load_caffemodel(path)
    layers = [
        {"name": layer.name, "type": layer.type, "blobs": [list(blob.shape) for blob in layer.blobs if blob]}
        for layer in model.layers
    ]
    counts = [blob.count for layer in model.layers for blob in layer.blobs if blob]
    rows = [
        (
            entry["name"],
            entry["type"] or "-",
            " ".join("x".join(map(str, shape)) or "scalar" for shape in entry["blobs"]),
        )
        for entry in layers
        if entry["blobs"]
    ]
    lines = [f"caffemodel of net {model.name!r}: {len(layers)} layers, {len(rows)} with blobs", ""]
    lines += table(("layer", "type", "blobs"), rows)
    lines += [
        "",
        f"values          {sum(counts):,} ({size(4 * sum(counts))}); shared blobs count in every layer",
    ]
    return Report(
        {
            "kind": "caffemodel",
            "file": str(path),
            "name": model.name,
            "layers": layers,
            "values": sum(counts),
        },
        lines,
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Plain aligned columns; `right` lists the columns aligned to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return [line(head), "  ".join("-" * width for width in widths), *map(line, rows)]


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
