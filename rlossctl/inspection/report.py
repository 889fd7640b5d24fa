"""A report: a dict for JSON, and lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlossctl.errors import shortened

_LONGEST_CELL = 300  # characters


@dataclass(frozen=True)
class Report:
    """A report, as a dict for JSON and as lines of text."""

    content: Mapping[str, object]
    lines: list[str]

    def as_dict(self) -> dict[str, object]:
        """The report for JSON."""
        return dict(self.content)

    def as_text(self) -> str:
        """The report for a terminal."""
        return "\n".join(map(shortened, self.lines))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Plain aligned columns; `right` lists the columns aligned to the right. Very long cells are cut."""
    rows = [[shortened(cell, _LONGEST_CELL) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return [line(head), "  ".join("-" * width for width in widths), *map(line, rows)]


def size(count: float) -> str:
    """A number of bytes with a readable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def dims(shape: Iterable[object]) -> str:
    """A shape as text, such as 64x3x3x3."""
    return "x".join(map(str, shape)) or "scalar"
