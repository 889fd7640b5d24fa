"""Palettes by name, those of data sets; or from a file."""

from __future__ import annotations

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
