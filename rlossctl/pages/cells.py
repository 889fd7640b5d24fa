"""Cells of the tables on pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """One cell.

    Attributes:
        text: what it shows.
        value: what it is sorted by, if not the text.
        head: whether it names its row.
        swatch: RGB of a square before the text.
        bar: length of a bar behind the text, 0..100.
        best: whether it is the best of its column or row.
    """

    text: str
    value: float | None = None
    head: bool = False
    swatch: Sequence[int] | None = None
    bar: float | None = None
    best: bool = False

    @property
    def names(self) -> str:
        """Its CSS classes."""
        return " ".join(name for name, yes in (("bar", self.bar is not None), ("best", self.best)) if yes)


def head(text: str, swatch: Sequence[int] | None = None) -> Cell:
    """The cell that names a row."""
    return Cell(text, head=True, swatch=swatch)
