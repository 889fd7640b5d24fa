"""A report on the content of one file of any format (`rlossctl inspect`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import UsageError
from rlossctl.inspection.report import Report
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds

if TYPE_CHECKING:
    from rlossctl.inspection.difference import Difference
    from rlossctl.net import Net
    from rlossctl.net.draft import Draft
    from rlossctl.net.outline import Outline
    from rlossctl.viewing import BlobCard


def inspect(
    origin: NetOrigin,
    phase: str | None = None,
    image_shape: tuple[int, int, int] | None = None,
    draw: Path | None = None,
) -> Report:
    """Reads a file of any format.

    Args:
        origin: the file in the prototxt's place, and how to read a prototxt. Placeholders in strings may stay
            unset. Weights are for the page of a net.
        image_shape: the size of the images, for nets whose data layers would have to read them to know it.
        draw: the file for a drawing of a net: a page (.html), or SVG.

    Raises:
        PrototxtError, NetError, WeightsError: as the readers raise them.
        UsageError: a drawing was requested of a file that is not a net, or weights are given but no page.
    """
    path = Path(origin.prototxt)
    _check_weights(origin, draw)
    kind = kinds.kind_of(path)
    if kind == kinds.PROTOTXT:
        from rlossctl.inspection import nets
        from rlossctl.prototxt.text import NetFile, load_prototxt
        from rlossctl.prototxt.unset import Placeholders

        read = load_prototxt(path, Placeholders(origin.placeholders), origin.dialect)
        if isinstance(read, NetFile):
            net = nets.draft(read, phase, image_shape)
            if draw is not None:
                _draw(draw, origin, net, lambda: nets.build(read, phase, image_shape))
            return nets.net_report(path, net)
        _refuse_drawing(draw, path, kind)
        return nets.solver_report(path, read)
    _refuse_drawing(draw, path, kind)
    if kind == kinds.ONNX:
        from rlossctl.inspection.onnxfile import onnx_report

        return onnx_report(path)
    from rlossctl.inspection.weights import weights_report

    return weights_report(path, kind)


def compare_files(
    first: NetOrigin, second: NetOrigin, tolerance: float = 0.0, draw: Path | None = None
) -> Difference:
    """Compares two files of any format; see `rlossctl.inspection.difference.difference`.

    Args:
        draw: the page (.html) for a drawing of two nets beside each other.

    Raises:
        UsageError: the formats have nothing in common, or cannot be drawn.
        RlossError: a file cannot be read or written.
    """
    from rlossctl.inspection.contents import read
    from rlossctl.inspection.difference import compare

    if draw is not None and not is_page(draw):
        raise UsageError(
            "two nets are drawn as a page", found=f"--draw {draw}", expected="a name that ends in .html"
        )
    contents = read(first), read(second)
    result = compare(*contents, (first, second), tolerance)
    if draw is not None:
        from rlossctl.inspection.drawn import write_difference_page

        write_difference_page(draw, (Path(first.prototxt), Path(second.prototxt)), contents, result)
    return result


def is_page(out: Path) -> bool:
    """Whether a drawing of this name is a page; otherwise it is an SVG file."""
    return out.suffix.lower() in (".html", ".htm")


def _draw(out: Path, origin: NetOrigin, net: Draft[Outline], with_memory: Callable[[], Net]) -> None:
    if not is_page(out):
        from rlossctl.drawing import draw_net

        draw_net(net, out)
        return
    from rlossctl.inspection import drawn

    files = [Path(origin.prototxt)]
    cards: dict[str, list[BlobCard]] = {}
    if origin.weights is not None:
        files.append(Path(origin.weights))
        cards = drawn.weight_cards(with_memory(), files[-1])
    drawn.write_net_page(out, files, net, cards)


def _check_weights(origin: NetOrigin, draw: Path | None) -> None:
    if origin.weights is not None and not (draw and is_page(draw)):
        raise UsageError(
            "weights are shown on the page of a net alone",
            found=f"--weights {origin.weights}" + (f" with --draw {draw}" if draw else " without --draw"),
            expected="--draw with a name that ends in .html",
            advice="to see what a weights file holds, inspect the file itself",
        )


def _refuse_drawing(draw: Path | None, path: Path, kind: str) -> None:
    if draw is not None:
        raise UsageError("only a net can be drawn", where=path, found=kind, expected="a net prototxt")


__all__ = ["Report", "compare_files", "inspect"]
