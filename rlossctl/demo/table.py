"""The demo's table, for one seed or several."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from rlossctl.demo.job import Row
from rlossctl.demo.recipes import FULL_MASKS, SCRIBBLES
from rlossctl.prototxt import load_net_parameter

HEAD = ("trained with", "labels", "mIoU, %", "beside CE alone", "pixel accuracy, %", "s/update", "weight")


def format_table(seeds: Sequence[Sequence[Row]], placeholders: Mapping[str, str]) -> list[str]:
    """The lines of the table; with several seeds the means and, after +-, standard deviations.

    A weight that was measured stands behind its pull, from the least to the greatest of the seeds.

    Args:
        seeds: the rows of each seed, the same recipes in the same order.
        placeholders: the values that the nets were given.
    """
    by_recipe = list(zip(*seeds, strict=True))
    alone = {rows[0].recipe: _scores(rows) for rows in by_recipe}
    table = [HEAD, *(_cells(rows, alone, placeholders) for rows in by_recipe)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(_aligned, cells, widths, range(len(cells)))).rstrip() for cells in table]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _cells(
    rows: Sequence[Row], alone: Mapping[object, list[float]], placeholders: Mapping[str, str]
) -> tuple[str, ...]:
    recipe = rows[0].recipe
    base = FULL_MASKS if recipe.full else SCRIBBLES
    scores = _scores(rows)
    beside = "" if recipe == base else _spread([a - b for a, b in zip(scores, alone[base], strict=True)], "+")
    accuracy = [_percent(row.evaluation.require_confusion().pixel_accuracy()) for row in rows]
    seconds = statistics.fmean(row.seconds for row in rows)
    labels = "full masks" if recipe.full else "scribbles, 3 %"
    weight = ", ".join(_weights(rows, name, placeholders) for name in rows[0].weights)
    return recipe.name, labels, _spread(scores), beside, _spread(accuracy), f"{seconds:.3f}", weight


def _scores(rows: Sequence[Row]) -> list[float]:
    return [_percent(row.evaluation.miou()) for row in rows]


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def _spread(values: Sequence[float], sign: str = "") -> str:
    mean = f"{statistics.fmean(values):{sign}.2f}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.2f}"


def _weights(rows: Sequence[Row], loss: str, placeholders: Mapping[str, str]) -> str:
    """A loss's weight in all seeds, behind the pull that it was measured for."""
    net = load_net_parameter(rows[0].recipe.net, {"NUM_LABELS": "1", **placeholders})
    pull = next(layer.loss_schedule.pull for layer in net.layer if loss in layer.top)
    found = [row.weights[loss] for row in rows]
    span = " to ".join(dict.fromkeys(f"{weight:.3g}" for weight in (min(found), max(found))))
    return f"pull {pull:.3g}: {span}" if pull else span


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column in (0, 1, len(HEAD) - 1) else cell.rjust(width)
