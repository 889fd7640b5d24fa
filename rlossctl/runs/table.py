"""Runs compared in a terminal: best scores, then settings that differ, a row each."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.runs.run import Run, best_scores, differing

WIDEST = 34  # a cell's text; the rest is cut


def format_runs(runs: Sequence[Run]) -> str:
    """The text of the comparison."""
    scores, settings = score_rows(runs), differing(runs)
    parts = [_table(scores)]
    if len(runs) > 1:
        head = ["setting", *(run.name for run in runs)]
        rows = [[name, *values] for name, values in settings.items()]
        parts.append(_table([head, *rows]) if rows else "the settings are the same")
    return "\n\n".join(parts)


def score_rows(runs: Sequence[Run], every: bool = False) -> list[list[str]]:
    """Head and one row per run: updates, loss (the mean of the last 100), the best score, where, the last.

    Args:
        every: also the best of the other scores; otherwise only of mIoU, or of the first that there is.
    """
    scores = [best_scores(run) for run in runs]
    names = sorted({name for each in scores for name in each}, key=lambda name: (name != "mIoU", name))
    first, others = names[:1], names[1:] if every else []
    heads = (
        [f"best {name}" for name in first],
        ["at", "last"] if first else [],
        [f"best {name}" for name in others],
    )
    rows = [["run", "iterations", "loss", *(head for part in heads for head in part)]]
    for run, each in zip(runs, scores, strict=True):
        recent = run.history.loss.values[-100:]
        row = [run.name, str(run.iter), f"{sum(recent) / len(recent):.4g}" if recent else "-"]
        for name in first:
            best = each.get(name)
            row += ["-"] * 3 if best is None else [_percent(best.value), str(best.iter), _percent(best.last)]
        rows.append([*row, *(_percent(each[name].value) if name in each else "-" for name in others)])
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    cells = [[_cut(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for index, row in enumerate(cells):
        first, *rest = row
        padded = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        lines.append("  ".join(padded).rstrip())
        if index == 0:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"...{text[3 - WIDEST :]}"
