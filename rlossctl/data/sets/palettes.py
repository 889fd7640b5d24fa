"""Palettes by name: VOC's, Cityscapes', those of data sets; or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl.data.sets.registry import data_sets

if TYPE_CHECKING:
    from rlossctl.data.palette import Palette


def find_palette(text: str) -> Palette:
    """A palette: voc, cityscapes, that of a data set's label files, or from a file.

    Raises:
        DataError: as for `read_palette`.
    """
    from rlossctl.data.palette import Palette, cityscapes_colours, voc_colours
    from rlossctl.data.palette_files import read_palette

    entry = data_sets().get(text)
    names = dict(enumerate(entry.classes if entry else ()))
    if text == "cityscapes":
        return cityscapes_colours()
    if text == "voc":
        return Palette(voc_colours().colours, names)
    if entry is None or entry.palette is None:
        return read_palette(text)
    table = entry.palette().tolist()
    return Palette({place: tuple(table[place]) for place in (*names, entry.ignore_label)}, names)
