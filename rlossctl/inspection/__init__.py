"""A report on the content of one file of any format (`rlossctl inspect`)."""

from __future__ import annotations

from pathlib import Path

from rlossctl.errors import UsageError
from rlossctl.inspection.report import Report
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds


def inspect(
    origin: NetOrigin,
    phase: str | None = None,
    image_shape: tuple[int, int, int] | None = None,
    draw: Path | None = None,
) -> Report:
    """Reads a file of any format.

    Args:
        origin: the file in the prototxt's place, and how to read a prototxt. Placeholders in strings may stay
            unset.
        image_shape: the size of the images, for nets whose data layers would have to read them to know it.
        draw: the SVG file for a drawing of a net.

    Raises:
        PrototxtError, NetError, WeightsError: as the readers raise them.
        UsageError: a drawing was requested of a file that is not a net.
    """
    path = Path(origin.prototxt)
    kind = kinds.kind_of(path)
    if kind == kinds.PROTOTXT:
        from rlossctl.inspection import nets
        from rlossctl.prototxt.text import NetFile, load_prototxt
        from rlossctl.prototxt.unset import Placeholders

        read = load_prototxt(path, Placeholders(origin.placeholders), origin.dialect)
        if isinstance(read, NetFile):
            net = nets.draft(read, phase, image_shape)
            if draw is not None:
                from rlossctl.drawing import draw_net

                draw_net(net, draw)
            return nets.net_report(path, net)
        _refuse_drawing(draw, path, kind)
        return nets.solver_report(path, read)
    _refuse_drawing(draw, path, kind)
    if kind == kinds.ONNX:
        from rlossctl.inspection.onnxfile import onnx_report

        return onnx_report(path)
    from rlossctl.inspection.weights import weights_report

    return weights_report(path, kind)


def _refuse_drawing(draw: Path | None, path: Path, kind: str) -> None:
    if draw is not None:
        raise UsageError("only a net can be drawn", where=path, found=kind, expected="a net prototxt")


__all__ = ["Report", "inspect"]
