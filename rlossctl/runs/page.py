"""Runs compared on one page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlossctl.pages import render
from rlossctl.pages.cells import Cell, head
from rlossctl.runs.run import Run, differing
from rlossctl.runs.table import score_rows
from rlossctl.solver.telling.curves import Line, Panel, svg

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
        curves=svg(_panels(runs)),
        runs=runs,
        names=["setting", *(run.name for run in runs)],
        settings=_cells([[name, *values] for name, values in settings.items()]),
    )


def _panels(runs: Sequence[Run]) -> list[Panel]:
    """One panel per figure, with a line per run."""
    panels = [Panel("loss", [Line(run.name, run.history.loss) for run in runs])]
    names = dict.fromkeys(name for run in runs for name in run.history.counted)
    for name in sorted(names, key=lambda name: name != "mIoU"):
        lines = [Line(run.name, run.history.tests[name]) for run in runs if name in run.history.counted]
        panels.append(Panel(f"{name}, %", lines, percent=True))
    return [*panels, Panel("learning rate", [Line(run.name, run.history.lr) for run in runs])]


def _cells(rows: Sequence[Sequence[str]]) -> list[list[Cell]]:
    """Cells of texts, sorted as numbers where they are numbers."""
    return [[head(row[0]), *(Cell(text, _number(text)) for text in row[1:])] for row in rows]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
