"""What the report's page shows, as values for its template (report.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlossctl.evaluation.reporting import table
from rlossctl.evaluation.reporting.charts import FOLDER
from rlossctl.evaluation.reporting.heat import HeatMap, heat_map, heat_style
from rlossctl.evaluation.reporting.layers import Layer, Layers
from rlossctl.evaluation.reporting.pictures import RIGHT, WRONG
from rlossctl.evaluation.scoring import results
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.results import percent
from rlossctl.pages import render
from rlossctl.pages.cells import Cell, head

HERE = Path(__file__).parent
# Keys of the scores in results.means that the page shows; the JSON beside the page has the rest.
_SUMMARY = ("miou", "mdice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_miou")
_PER_CLASS = {
    "dice": "Dice",
    "precision": "precision",
    "accuracy": "accuracy",
    "boundary_iou": "boundary IoU",
}


@dataclass(frozen=True)
class Example:
    """One image on the page.

    Attributes:
        index: its place in the list, from 0.
        title: its name on the page.
        layers: the photo and what lies over it.
        classes: the class ids that occur in it.
        scores: image-wise IoU by model, NaN if undefined.
    """

    index: int
    title: str
    layers: Layers
    classes: list[int]
    scores: dict[str, float]

    @property
    def shown(self) -> str:
        """The scores for its heading, in percent."""
        known = {model: score for model, score in self.scores.items() if not np.isnan(score)}
        if len(self.scores) == 1:
            return "".join(f"{100 * score:.1f}" for score in known.values())
        return ", ".join(f"{model} {100 * score:.1f}" for model, score in known.items())

    @property
    def sorted_scores(self) -> str:
        """The scores for the script, in the order of the models; -1 if undefined."""
        return " ".join(f"{-1 if np.isnan(score) else score:.6f}" for score in self.scores.values())


class Table(NamedTuple):
    """Heads, and rows of cells."""

    heads: list[str]
    rows: list[list[Cell]]


def render_page(
    title: str,
    evaluations: Mapping[str, Evaluation],
    examples: Sequence[Example],
    colours: np.ndarray,
    *,
    provenance: Mapping[str, str],
    charts: Sequence[str],
) -> str:
    """The whole page as text.

    Args:
        colours: the classes', uint8 [256, 3] RGB.
        provenance: command, date, versions and hashes, by what the page calls them.
        charts: the files beside the page, without their suffixes.
    """
    names = next(iter(evaluations.values())).class_names
    values: dict[str, Any] = {
        "title": title,
        "heat_style": heat_style(),
        "models": list(evaluations),
        "names": names,
        "colours": colours.tolist(),
        "warnings": warnings_of(evaluations),
        "summary": _summary(evaluations),
        "ways": _ways(evaluations),
        "classes": _per_class(evaluations, names, colours),
        "maps": _maps(evaluations, names),
        "examples": examples,
        "all_shown": len(examples) == next(iter(evaluations.values())).images,
        "kinds": _kinds(examples, evaluations),
        "occurring": sorted({index for example in examples for index in example.classes}),
        "charts": [f"{FOLDER}/{name}" for name in charts],
        "wrong": WRONG,
        "right": RIGHT,
        "provenance": provenance,
    }
    return render(HERE, "report.html", **values)


def warnings_of(evaluations: Mapping[str, Evaluation]) -> list[tuple[list[str], str]]:
    """Reasons to doubt the scores, with the models; none if all have it, as for the labels of their list."""
    models: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for text in table.warning_texts(evaluation):
            models.setdefault(text, []).append(name)
    return [([] if len(names) == len(evaluations) else names, text) for text, names in models.items()]


def score_cell(values: Sequence[float | None], index: int, bar: bool = False) -> Cell:
    """One of the scores that stand beside each other; the best is marked, unless all look equal."""
    value = values[index]
    shown = [round(entry, 4) for entry in values if entry is not None]  # figures that look equal are equal
    best = value is not None and round(value, 4) == max(shown) > min(shown)
    return Cell(
        percent(value),
        value=-1.0 if value is None else value,
        bar=100 * (value or 0) if bar else None,
        best=best,
    )


def _summary(evaluations: Mapping[str, Evaluation]) -> Table:
    means = {name: results.means(entry).by_key() for name, entry in evaluations.items()}
    keys = [key for key in (*_SUMMARY, "miou_images") if any(key in row for row in means.values())]
    columns = [[row.get(key) for row in means.values()] for key in keys]
    rows = [
        [
            head(name),
            *(score_cell(column, index) for column in columns),
            Cell(str(entry.images), entry.images),
            Cell(f"{entry.seconds:.1f}", entry.seconds),
        ]
        for index, (name, entry) in enumerate(evaluations.items())
    ]
    return Table(["model", *(results.MEANS[key] for key in keys), "images", "seconds"], rows)


def _ways(evaluations: Mapping[str, Evaluation]) -> list[tuple[list[str], dict[str, str]]]:
    """How the models were run; models that were run alike share one entry."""
    ways: list[tuple[list[str], dict[str, str]]] = []
    for name, entry in evaluations.items():
        facts = {
            "run by": entry.backend,
            "input": table.describe_preprocess(entry.preprocess),
            "protocol": table.describe_protocol(entry.protocol, entry.preprocess),
            "rule": table.describe_rule(entry.rule),
        }
        alike = next((names for names, known in ways if known == facts), None)
        if alike is None:
            ways.append(([name], facts))
        else:
            alike.append(name)
    return ways


def _per_class(evaluations: Mapping[str, Evaluation], names: Sequence[str], colours: np.ndarray) -> Table:
    scores = [results.classes(entry) for entry in evaluations.values()]
    boundary = next(iter(evaluations.values())).boundary is not None
    counted = {key: text for key, text in _PER_CLASS.items() if boundary or key != "boundary_iou"}
    more = counted if len(scores) == 1 else {}
    rows = []
    for index, name in enumerate(names):
        values = [entry[index].iou for entry in scores]
        others = [getattr(scores[0][index], key) for key in more]
        pixels = scores[0][index].pixels
        rows.append(
            [
                head(name, colours[index].tolist()),
                *(score_cell(values, column, bar=True) for column in range(len(values))),
                *(Cell(percent(value), -1.0 if value is None else value) for value in others),
                Cell(f"{pixels:,}", pixels),
            ]
        )
    titles = list(evaluations) if len(scores) > 1 else ["IoU"]
    return Table(["class", *titles, *more.values(), "labelled pixels"], rows)


def _maps(evaluations: Mapping[str, Evaluation], names: Sequence[str]) -> list[tuple[str, HeatMap]]:
    return [
        (model, heat_map(entry.confusion.matrix, names))
        for model, entry in evaluations.items()
        if entry.confusion is not None
    ]


def _kinds(examples: Sequence[Example], evaluations: Mapping[str, Evaluation]) -> list[Layer]:
    """The pictures that every image has, without their contents."""
    if not examples:
        return []
    several = len(evaluations) > 1
    named = {f"prediction {index}": model for index, model in enumerate(evaluations)}
    named |= {
        f"errors {index}": f"errors of {model}" if several else "errors"
        for index, model in enumerate(evaluations)
    }
    keys = ["photo", *(layer.key for layer in examples[0].layers.over)]
    return [Layer(key, named.get(key, key), "") for key in keys]
