"""A report's charts, for papers: the IoU of each class, and each model's confusion matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rlossctl.charts import Bars, Chart, bar_chart, matrix_chart
from rlossctl.evaluation.reporting.heat import STEPS, row_shares, step_colours
from rlossctl.evaluation.scoring import results
from rlossctl.evaluation.scoring.evaluation import Evaluation

FOLDER = "figures"


def charts_of(evaluations: Mapping[str, Evaluation]) -> dict[str, Chart]:
    """File name without its suffix -> chart: `iou`, and `confusion` or `confusion_MODEL`."""
    names = next(iter(evaluations.values())).class_names
    values = {model: _percentages(entry) for model, entry in evaluations.items()}
    charts = {"iou": bar_chart(Bars(names, values, "IoU, %"), "IoU of each class")}
    for model, entry in evaluations.items():
        if entry.confusion is not None:
            name = "confusion" if len(evaluations) == 1 else f"confusion_{file_name(model)}"
            shares = row_shares(entry.confusion.matrix).tolist()
            charts[name] = matrix_chart(shares, names, _ramp, f"Confusion matrix of {model}")
    return charts


def file_name(text: str) -> str:
    """A text as the name of a file or folder."""
    return re.sub(r"[^\w.+-]+", "_", text).strip("._") or "model"


def _percentages(evaluation: Evaluation) -> list[float | None]:
    return [None if row.iou is None else 100 * row.iou for row in results.classes(evaluation)]


def _ramp(share: float) -> tuple[str, str]:
    back, text = step_colours("light", round(share * (STEPS - 1)))
    return "#{:02x}{:02x}{:02x}".format(*back), "#{:02x}{:02x}{:02x}".format(*text)
