"""Curves as SVG: one panel above the other, each with its lines and a legend. Needs no drawing library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from rlossctl.files import atomic_write
from rlossctl.solver.telling.figures import Saved, StepFigures, TestFigures
from rlossctl.solver.telling.history import History, Series
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.log import Stopwatch

COLOURS = ("#1668b8", "#d9622b", "#2b8a3e", "#8e44ad", "#b8860b", "#c0392b", "#16a2a2", "#666666")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 190, 64, 16, 26, 26
POINTS = 300  # a longer line is drawn by the means of so many parts
SECONDS = 10.0  # between two pictures of a run


class Line(NamedTuple):
    """A named line."""

    name: str
    series: Series


class Panel(NamedTuple):
    """A title and the lines below it, in percent or as they are."""

    title: str
    lines: Sequence[Line]
    percent: bool = False


def panels_of(history: History) -> list[Panel]:
    """Loss and terms, rate, and the scores of the tests."""
    loss = [Line("objective", history.loss)]
    if len(history.terms) > 1:
        loss += [Line(name, series) for name, series in history.terms.items()]
    tests = [Line(name, history.tests[name]) for name in history.counted]
    others = [Line(name, series) for name, series in history.tests.items() if name not in history.counted]
    return [
        Panel("objective and its weighted terms" if len(loss) > 1 else "objective", loss),
        Panel("learning rate", [Line("lr", history.lr)]),
        *([Panel("validation, %", tests, True)] if tests else []),
        *([Panel("tests", others)] if others else []),
    ]


def svg(panels: Sequence[Panel]) -> str:
    """The picture; panels share the axis of iterations."""
    last = max((x for panel in panels for line in panel.lines for x in line.series.iters[-1:]), default=1)
    parts = [_panel(panel, index * HEIGHT, max(last, 1)) for index, panel in enumerate(panels)]
    size = f'width="{WIDTH}" height="{HEIGHT * len(panels)}"'
    box = f'viewBox="0 0 {WIDTH} {HEIGHT * len(panels)}"'
    style = "font-family:sans-serif;font-size:11px;background:#fff"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} style="{style}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


class Picture(Listener):
    """Draws a run's curves into a file, again and again as it goes.

    Args:
        path: of the picture.
        history: is told the figures before this listener is.
    """

    def __init__(self, path: Path, history: History) -> None:
        self._path = path
        self._history = history
        self._watch = Stopwatch()
        self._waited = 0.0

    def updated(self, figures: StepFigures) -> None:
        """Draws now and then."""
        self._waited += self._watch.lap()
        if self._waited >= SECONDS:
            self.draw()

    def tested(self, figures: TestFigures) -> None:
        """Draws."""
        self.draw()

    def saved(self, snapshot: Saved) -> None:
        """Draws."""
        self.draw()

    def draw(self) -> None:
        """Writes the picture as it is now."""
        self._waited = 0.0
        with atomic_write(self._path) as file:
            file.write(svg(panels_of(self._history)).encode())


def _panel(panel: Panel, above: int, last: int) -> str:
    scale = 100.0 if panel.percent else 1.0
    lines = [(line.name, _thinned(line.series, scale)) for line in panel.lines]
    values = [y for _, points in lines for _, y in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + (abs(low) or 1.0)
    parts = [f'<text x="{LEFT}" y="{above + 16}" font-weight="bold">{escape(panel.title)}</text>']
    parts += [_grid(low, high, above, last)]
    for index, (name, points) in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(_path(points, (low, high), above, last, colour))
        x = LEFT + 210 + 118 * (index % 4)
        label = name if len(name) <= 18 else f"{name[:17]}…"
        parts.append(
            f'<text x="{x}" y="{above + 10 + 11 * (index // 4)}" fill="{colour}">{escape(label)}</text>'
        )
    return "\n".join(parts)


def _thinned(series: Series, scale: float) -> list[tuple[float, float]]:
    """Points in order, at most POINTS of them: the means of equal parts; without what is not a number."""
    points = [(x, y * scale) for x, y in zip(series.iters, series.values, strict=True) if math.isfinite(y)]
    size = math.ceil(len(points) / POINTS) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _grid(low: float, high: float, above: int, last: int) -> str:
    inner = HEIGHT - TOP - BOTTOM
    parts = []
    for value in _ticks(low, high):
        y = above + HEIGHT - BOTTOM - inner * (value - low) / (high - low)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _ticks(0, last):
        x = LEFT + (WIDTH - LEFT - RIGHT) * value / last
        place = f'x="{x:.1f}" y="{above + HEIGHT - 8}"'
        parts.append(f'<text {place} text-anchor="middle">{value:g}</text>')
    return "\n".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range, four or so."""
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    count = math.floor(high / step) - math.ceil(low / step) + 1
    return [float(f"{(math.ceil(low / step) + index) * step:.6g}") for index in range(count)]


def _path(
    points: Sequence[tuple[float, float]], span: tuple[float, float], above: int, last: int, colour: str
) -> str:
    low, high = span
    inner = HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        left = LEFT + (WIDTH - LEFT - RIGHT) * x / last
        return f"{left:.1f} {above + HEIGHT - BOTTOM - inner * (y - low) / (high - low):.1f}"

    places = [place(x, y) for x, y in points]
    dots = [f'<circle cx="{p.split()[0]}" cy="{p.split()[1]}" r="2.5" fill="{colour}"/>' for p in places]
    shown = "".join(dots) if len(points) <= 40 else ""
    return (
        f'<path d="M{"L".join(places)}" fill="none" stroke="{colour}" stroke-width="1.4"/>{shown}'
        if places
        else ""
    )
