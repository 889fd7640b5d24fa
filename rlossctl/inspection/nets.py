"""Reports on prototxts: nets and solvers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.inspection.report import Report, dims, size, table
from rlossctl.weights import provenance
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.net.draft import Draft
    from rlossctl.net.net import Net
    from rlossctl.net.outline import Outline
    from rlossctl.prototxt.messages import SolverParameter
    from rlossctl.prototxt.text import NetFile


def build(file: NetFile, phase: str | None, image_shape: tuple[int, int, int] | None) -> Net:
    """A net with memory for its weights; `phase` None builds it as for prediction."""
    from rlossctl.net import DataOverrides
    from rlossctl.net.build import build_inference_net, build_phase

    data = DataOverrides(image_shape=image_shape)
    if phase is None:
        return build_inference_net(file, data)
    return build_phase(file, phase, data=data.options())


def draft(file: NetFile, phase: str | None, image_shape: tuple[int, int, int] | None) -> Draft[Outline]:
    """A net that is not built; `phase` None takes it as for prediction."""
    from rlossctl.net.draft import draft_inference_net, draft_phase
    from rlossctl.net.origin import DataOverrides

    data = DataOverrides(image_shape=image_shape)
    return draft_inference_net(file, data) if phase is None else draft_phase(file, phase, data.options())


def net_report(path: Path, net: Draft[Outline]) -> Report:
    """Shapes, parameters, multiply-adds, memory and receptive field of every layer."""
    from rlossctl.net.summary import summarize
    from rlossctl.net.unread import unread_fields

    notes = [*net.file.notes, *unread_fields(net.layers)]
    summary = summarize(net)
    source = provenance.of_prototxt(path)
    rows = [
        (
            layer.name,
            layer.type,
            " ".join(map(dims, layer.shapes)) or "-",
            f"{layer.parameters:,}" + (" shared" if layer.shared else "") if layer.parameters else "-",
            f"{layer.multiply_adds / 1e6:,.1f}" if layer.multiply_adds else "-",
            f"{layer.receptive_field:g}" if layer.receptive_field else "-",
        )
        for layer in summary.layers
    ]
    lines = [
        f"net {summary.name!r}, phase {summary.phase}, {counted(len(summary.layers), 'layer')}",
        f"dialect {summary.dialect}: {summary.dialect_reason}",
        *provenance.lines(source),
        *notes,
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
    return Report(
        {"kind": "net", "file": str(path), "source": source, "notes": notes, **summary.as_dict()}, lines
    )


def solver_report(path: Path, param: SolverParameter) -> Report:
    """A solver's fields and its learning rates."""
    from google.protobuf.json_format import MessageToDict

    from rlossctl.prototxt import forks
    from rlossctl.solver.updating.policies import learning_rate, momentum

    steps = sorted(
        {0, *(round(param.max_iter * share / 10) for share in range(1, 10)), max(0, param.max_iter - 1)}
    )
    schedule = [(step, learning_rate(param, step)) for step in steps]
    source = provenance.of_prototxt(path)
    fields = MessageToDict(param, preserving_proto_field_name=True)
    lines = [
        f"solver, type {param.type}, policy {param.lr_policy}, {counted(param.max_iter, 'iteration')}",
        *provenance.lines(source),
        *forks.solver_notes(param),
        "",
    ]
    lines += [f"{name:<20}{value}" for name, value in fields.items()]
    rates = [(str(step), f"{rate:.6g}", _number(momentum(param, step))) for step, rate in schedule]
    columns = 3 if rates[0][2] else 2  # momentum is shown where the policy changes it
    rows = [row[:columns] for row in rates]
    lines += ["", *table(("iteration", "learning rate", "momentum")[:columns], rows, right=range(columns))]
    content = {
        "kind": "solver",
        "file": str(path),
        "source": source,
        "fields": fields,
        "schedule": [list(pair) for pair in schedule],
    }
    return Report(content, lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
