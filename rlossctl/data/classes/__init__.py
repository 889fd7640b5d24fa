"""Class names and colours of known data sets: NAME.txt has a line `R G B name` for each class, in the order
of ids. The same files are palettes for `--palette`. Nothing here loads NumPy: --help needs the names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

Colour = tuple[int, int, int]
# Cityscapes' own ids of its 19 evaluated classes, in the order of their training ids.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


class Classes(NamedTuple):
    """Names and colours (red, green, blue), both in the order of ids."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def chosen(self, ids: list[int]) -> Classes:
        """Those with the given ids, in that order."""
        return Classes(tuple(self.names[one] for one in ids), tuple(self.colours[one] for one in ids))


def read_classes(name: str) -> Classes:
    """The classes in NAME.txt beside this file."""
    lines = Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").splitlines()
    split = [line.split(maxsplit=3) for line in lines]
    return Classes(
        tuple(words[3] for words in split),
        tuple((int(red), int(green), int(blue)) for red, green, blue, _ in split),
    )
