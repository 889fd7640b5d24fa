"""One file's content as a report, whatever its format (`rlossctl inspect`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rlossctl.errors import UsageError
from rlossctl.inspection.report import Report
from rlossctl.weights import kinds


def inspect(
    path: Path,
    placeholders: Mapping[str, object],
    phase: str | None = None,
    dialect: str = "auto",
    image_shape: tuple[int, int, int] | None = None,
    draw: Path | None = None,
) -> Report:
    """Reads a file of any format.

    Args:
        placeholders: values for `${NAME}`; those in strings may stay unset.
        image_shape: for nets whose data layers would look at their images to know the size.
        draw: SVG file for a drawing of a net.

    Raises:
        PrototxtError, NetError, WeightsError: as the readers raise them.
        UsageError: a drawing of something that is not a net.
    """
    kind = kinds.kind_of(path)
    if kind == kinds.PROTOTXT:
        from rlossctl.inspection import nets
        from rlossctl.prototxt import text, unset

        placeholders = unset.keep([text.read_text(path)], placeholders)
        if not text.is_solver(text.read_text(path)):
            net = nets.build(path, placeholders, phase, dialect, image_shape)
            if draw is not None:
                from rlossctl.drawing import draw_net

                draw_net(net, draw)
            return nets.net_report(path, net)
    if draw is not None:
        raise UsageError("only a net can be drawn", where=path, found=kind, expected="a net prototxt")
    if kind == kinds.PROTOTXT:
        return nets.solver_report(path, placeholders)
    if kind == kinds.ONNX:
        from rlossctl.inspection.onnxfile import onnx_report

        return onnx_report(path)
    from rlossctl.inspection.weights import weights_report

    return weights_report(path, kind)


__all__ = ["Report", "inspect"]
