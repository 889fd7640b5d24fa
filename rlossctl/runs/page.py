"""Runs compared on one page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rlossctl.runs.run import Run, differing
from rlossctl.runs.table import score_rows
from rlossctl.solver.telling.curves import Line, Panel, svg

_STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { border-bottom: 1px solid #ddd; padding: .25em .8em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td { max-width: 24em; overflow-wrap: anywhere; }
.scores td { overflow-wrap: normal; }
svg { max-width: 100%; height: auto; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    settings = differing(runs)
    head = ["setting", *(run.name for run in runs)]
    rows = [[name, *values] for name, values in settings.items()]
    compared = _table([head, *rows]) if rows else "<p>The settings are the same.</p>"
    commands = "".join(
        f"<p>{escape(run.name)}: <code>{escape(run.manifest.command)}</code></p>" for run in runs
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><title>Training runs</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Training runs</h1>\n"
        f"{_table(score_rows(runs, every=True), kind='scores')}\n"
        f"<h2>Curves</h2>\n{svg(_panels(runs))}\n"
        + (f"<h2>Settings that differ</h2>\n{compared}\n" if len(runs) > 1 else "")
        + f"<h2>Commands</h2>\n{commands}\n</body></html>\n"
    )


def _panels(runs: Sequence[Run]) -> list[Panel]:
    """One panel per figure, with a line per run."""
    panels = [Panel("loss", [Line(run.name, run.history.loss) for run in runs])]
    names = dict.fromkeys(name for run in runs for name in run.history.counted)
    for name in sorted(names, key=lambda name: name != "mIoU"):
        lines = [Line(run.name, run.history.tests[name]) for run in runs if name in run.history.counted]
        panels.append(Panel(f"{name}, %", lines, percent=True))
    return [*panels, Panel("learning rate", [Line(run.name, run.history.lr) for run in runs])]


def _table(rows: Sequence[Sequence[str]], kind: str = "settings") -> str:
    head, *body = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    head = head.replace("td>", "th>").replace("_", "_<wbr>")  # long names of figures
    lines = "".join(f"<tr>{row}</tr>\n" for row in body)
    return f'<table class="{kind}"><tr>{head}</tr>\n{lines}</table>'
