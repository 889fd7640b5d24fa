"""Palettes by name, those of data sets; or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlossctl.data.sets.registry import data_sets

if TYPE_CHECKING:
    from rlossctl.data.palette import Palette


def find_palette(text: str) -> Palette:
    """The colours and names of a data set's classes and the colour of its ignore label; or from a file.

    Raises:
        DataError: as for `read_palette`.
    """
    from rlossctl.data.palette import Palette, voc_palette
    from rlossctl.data.palette_files import read_palette

    entry = data_sets().get(text)
    if entry is None:
        return read_palette(text)
    listed = entry.colours or [(red, green, blue) for red, green, blue in voc_palette().tolist()]
    colours = dict(zip(range(len(entry.classes)), listed, strict=False))
    return Palette({**colours, entry.ignore_label: entry.ignore_colour}, dict(enumerate(entry.classes)))


def colours_of(names: Sequence[str] | None, count: int) -> list[list[int]]:
    """(red, green, blue) of `count` classes: of the data set whose classes have these names, else VOC's."""
    from rlossctl.data.palette import voc_palette

    for entry in data_sets().values():
        if entry.colours and list(entry.classes) == list(names or ()):
            return [list(colour) for colour in entry.colours]
    return voc_palette()[:count].tolist()
