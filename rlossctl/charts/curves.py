"""Curves: one panel above the other, each with its lines and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rlossctl.charts.shapes import COLOURS, Chart, Dot, Rect, Shape, Stroke, Text, legend

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 760, 170, 64, 16, 26
NARROW = 440  # a width for pages, where several stand beside each other
POINTS = 300  # a longer line is drawn by the means of so many parts
_DOTTED = 40  # a line of no more points shows them

Span = tuple[float, float]


class Line(NamedTuple):
    """A named line; values that are not numbers are left out."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


class Panel(NamedTuple):
    """A title and the lines below it."""

    title: str
    lines: Sequence[Line]


class _Frame(NamedTuple):
    """Where a panel's lines are, and what its edges stand for."""

    top: float
    right: float
    last: float
    span: Span

    def place(self, x: float, y: float) -> tuple[float, float]:
        low, high = self.span
        across = (self.right - LEFT) * x / self.last
        return LEFT + across, self.top + HEIGHT * (1 - (y - low) / (high - low))


def curve_chart(panels: Sequence[Panel], title: str = "Curves", width: float = WIDTH) -> Chart:
    """The chart; panels share the axis from 0 to the last x."""
    last = max((line.xs[-1] for panel in panels for line in panel.lines if line.xs), default=1)
    shapes: list[Shape] = []
    y = 0.0
    for panel in panels:
        added, y = _panel(panel, y, width - RIGHT, max(last, 1))
        shapes += added
    return Chart(title, width, y, shapes)


def _panel(panel: Panel, above: float, right: float, last: float) -> tuple[list[Shape], float]:
    """Its shapes, and where it ends."""
    lines = [_thinned(line) for line in panel.lines]
    values = [y for points in lines for _, y in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + (abs(low) or 1.0)
    names, height = legend([line.name for line in panel.lines], LEFT, right, above + 24)
    frame = _Frame(above + 34 + height, right, last, (low, high))
    shapes: list[Shape] = [Text(LEFT, above + 16, panel.title, bold=True), *names, *_grid(frame)]
    for index, points in enumerate(lines):
        places = [frame.place(x, y) for x, y in points]
        colour = COLOURS[index % len(COLOURS)]
        if places:
            shapes.append(Stroke(places, colour))
        if len(places) <= _DOTTED:
            shapes += [Dot(x, y, 2.5, colour) for x, y in places]
    return shapes, frame.top + HEIGHT + BOTTOM


def _thinned(line: Line) -> list[tuple[float, float]]:
    """Points in order, at most POINTS of them: the means of equal parts."""
    points = [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(y)]
    size = math.ceil(len(points) / POINTS) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _grid(frame: _Frame) -> list[Shape]:
    shapes: list[Shape] = []
    for value in _ticks(*frame.span, 4):
        _, y = frame.place(0, value)
        shapes.append(Rect(LEFT, y - 0.5, frame.right - LEFT, 1, "grid"))
        shapes.append(Text(LEFT - 6, y + 4, f"{value:g}", "end"))
    for value in _ticks(0, frame.last, 6):
        x, _ = frame.place(value, 0)
        shapes.append(Text(x, frame.top + HEIGHT + 16, f"{value:g}", "middle"))
    return shapes


def _ticks(low: float, high: float, parts: int) -> list[float]:
    """Round numbers in a range, about as many as parts, or fewer."""
    rough = (high - low) / parts
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    count = math.floor(high / step) - math.ceil(low / step) + 1
    return [float(f"{(math.ceil(low / step) + index) * step:.6g}") for index in range(count)]
