"""Bars: a group for each class, a bar in it for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlossctl.charts.shapes import COLOURS, Chart, Rect, Shape, Text, legend, shortened, text_width

WIDTH, RIGHT, BAR, GAP = 640, 44, 13, 7
_TICKS = (0, 20, 40, 60, 80, 100)


class Bars(NamedTuple):
    """What the bars are.

    Attributes:
        groups: names of the classes, from top to bottom.
        values: model -> a share of 0 to 100 for each class; None where it is not defined.
        unit: what the axis counts.
    """

    groups: Sequence[str]
    values: Mapping[str, Sequence[float | None]]
    unit: str


def bar_chart(bars: Bars, title: str) -> Chart:
    """Level bars from 0 to 100, with their values; a legend if there are several models."""
    left = 14 + min(200, max(map(text_width, bars.groups), default=0))
    shapes: list[Shape] = []
    top = 8.0
    if len(bars.values) > 1:
        shapes, height = legend(list(bars.values), left, WIDTH - RIGHT, top)
        top += height + 8
    step = BAR * len(bars.values) + GAP
    bottom = top + step * len(bars.groups)
    inner = (WIDTH - left - RIGHT) / 100
    for tick in _TICKS:
        shapes.append(Rect(left + tick * inner - 0.5, top, 1, bottom - top, "grid"))
        shapes.append(Text(left + tick * inner, bottom + 15, str(tick), "middle"))
    shapes.append(Text(left + 50 * inner, bottom + 31, bars.unit, "middle"))
    for row, name in enumerate(bars.groups):
        y = top + step * row + GAP / 2
        shapes.append(Text(left - 8, y + (step - GAP) / 2 + 4, shortened(name, 200), "end"))
        for index, values in enumerate(bars.values.values()):
            shapes += _bar(values[row], (left, y + BAR * index), inner, COLOURS[index % len(COLOURS)])
    return Chart(title, WIDTH, bottom + 40, shapes)


def _bar(value: float | None, corner: tuple[float, float], inner: float, colour: str) -> list[Shape]:
    left, y = corner
    if value is None:
        return [Text(left + 4, y + BAR - 3, "-", size=10)]
    text = Text(left + value * inner + 4, y + BAR - 3, f"{value:.1f}", size=10)
    return [Rect(left, y + 0.5, value * inner, BAR - 1, colour), text]
