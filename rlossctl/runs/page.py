"""Runs compared on one page that needs nothing beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rlossctl.charts import Panel, curve_chart, svg_text, write_chart
from rlossctl.charts.curves import NARROW
from rlossctl.pages import render
from rlossctl.pages.cells import Cell, head
from rlossctl.runs.run import Run, differing
from rlossctl.runs.table import score_rows
from rlossctl.solver.telling.curves import line_of

_HERE = Path(__file__).parent


def render_runs(runs: Sequence[Run]) -> str:
    """The page as text."""
    settings = differing(runs)
    scores = score_rows(runs, every=True)
    return render(
        _HERE,
        "runs.html",
        title="Training runs",
        heads=scores[0],
        scores=_cells(scores[1:]),
        curves=[
            svg_text(curve_chart([panel], panel.title, NARROW), themed=True) for panel in panels_of(runs)
        ],
        runs=runs,
        names=["setting", *(run.name for run in runs)],
        settings=_cells([[name, *values] for name, values in settings.items()]),
    )


def write_curves(folder: Path, runs: Sequence[Run]) -> None:
    """Writes each panel of the page as an SVG and a PNG file named after what it shows.

    Raises:
        RlossError: they cannot be written.
    """
    for panel in panels_of(runs):
        write_chart(folder, re.sub(r"\W+", "_", panel.title).strip("_"), curve_chart([panel], panel.title))


def panels_of(runs: Sequence[Run]) -> list[Panel]:
    """One panel per figure, with a line per run."""
    panels = [Panel("loss", [line_of(run.name, run.history.loss) for run in runs])]
    names = dict.fromkeys(name for run in runs for name in run.history.counted)
    for name in sorted(names, key=lambda name: name != "mIoU"):
        having = [run for run in runs if name in run.history.counted]
        lines = [line_of(run.name, run.history.tests[name], percent=True) for run in having]
        panels.append(Panel(f"{name}, %", lines))
    return [*panels, Panel("learning rate", [line_of(run.name, run.history.lr) for run in runs])]


def _cells(rows: Sequence[Sequence[str]]) -> list[list[Cell]]:
    """Cells of texts, sorted as numbers where they are numbers."""
    return [[head(row[0]), *(Cell(text, _number(text)) for text in row[1:])] for row in rows]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
