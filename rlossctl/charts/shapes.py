"""What a chart is made of. Lengths are CSS pixels; y grows downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

# Colours that follow a page's theme where the chart stands in one; on paper they have these values.
THEMED = {"ink": "#1c2126", "grid": "#d7dce1", "paper": "#ffffff"}
# For lines and bars that stand beside each other: told apart by people with any colour vision, and at least
# 3 to 1 against the papers of both themes.
COLOURS = ("#1f77b4", "#d55e00", "#009e73", "#aa4499", "#a07800", "#5566dd", "#e04060", "#7a7a7a")


@dataclass(frozen=True)
class Rect:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(frozen=True)
class Stroke:
    """A line through points."""

    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.4


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    fill: str


@dataclass(frozen=True)
class Text:
    """One line of text, (x, y) on its base line; `upwards` turns it by a quarter to be read from below."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    fill: str = "ink"
    size: float = 11
    bold: bool = False
    upwards: bool = False


Shape = Rect | Stroke | Dot | Text


@dataclass(frozen=True)
class Chart:
    """A picture.

    Attributes:
        title: what it shows, for those who cannot see it.
        width, height: in pixels.
        shapes: from back to front; colours are `#rrggbb` or names of THEMED.
    """

    title: str
    width: float
    height: float
    shapes: Sequence[Shape]


@cache
def text_width(text: str, size: float = 11) -> float:
    """How wide a text is, in pixels; a little more than most fonts need."""
    from PIL import ImageFont

    return 1.1 * float(ImageFont.load_default(size).getlength(text))


def shortened(text: str, width: float, size: float = 11) -> str:
    """The text, or as much of its start as fits."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text}…"


def legend(names: Sequence[str], left: float, right: float, y: float) -> tuple[list[Shape], float]:
    """Squares in COLOURS with names, in as many rows as they need; and the height of the rows."""
    shapes: list[Shape] = []
    x, row = left, 0
    for index, name in enumerate(names):
        text = shortened(name, 220)
        width = 14 + text_width(text) + 16
        if x > left and x + width > right:
            x, row = left, row + 1
        shapes.append(Rect(x, y + 16 * row + 2, 9, 9, COLOURS[index % len(COLOURS)]))
        shapes.append(Text(x + 14, y + 16 * row + 10.5, text))
        x += width
    return shapes, 16.0 * (row + 1)
