"""Curves of a run: loss, its terms, rate and scores as panels, and a file that is drawn again and again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlossctl.charts import Line, Panel, curve_chart, svg_text
from rlossctl.files import atomic_write
from rlossctl.solver.telling.figures import Saved, StepFigures, TestFigures
from rlossctl.solver.telling.history import History, Series
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.log import Stopwatch

SECONDS = 10.0  # between two pictures of a run


def line_of(name: str, series: Series, percent: bool = False) -> Line:
    """A series as a line of a chart, in percent or as it is."""
    values: Sequence[float] = [100 * value for value in series.values] if percent else series.values
    return Line(name, series.iters, values)


def panels_of(history: History) -> list[Panel]:
    """Loss and terms, rate, and the scores of the tests."""
    loss = [line_of("objective", history.loss)]
    if len(history.terms) > 1:
        loss += [line_of(name, series) for name, series in history.terms.items()]
    tests = [line_of(name, history.tests[name], percent=True) for name in history.counted]
    others = [line_of(name, series) for name, series in history.tests.items() if name not in history.counted]
    return [
        Panel("objective and its weighted terms" if len(loss) > 1 else "objective", loss),
        Panel("learning rate", [line_of("lr", history.lr)]),
        *([Panel("validation, %", tests)] if tests else []),
        *([Panel("tests", others)] if others else []),
    ]


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
            file.write(svg_text(curve_chart(panels_of(self._history))).encode())
