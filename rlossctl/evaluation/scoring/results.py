"""An evaluation's figures as plain values: JSON, rows for CSV, and a Markdown table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlossctl.counts import ImageWise, class_mean, image_wise
from rlossctl.evaluation.scoring.bootstrap import Difference
from rlossctl.evaluation.scoring.confusion import ClassScore, class_scores, number
from rlossctl.evaluation.scoring.evaluation import Evaluation

# In the order of the tables. Scores that need a confusion matrix are missing if masks may overlap.
MEANS = {
    "miou": "mIoU",
    "mdice": "mDice",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "mean_precision": "mean precision",
    "frequency_weighted_iou": "freq. weighted IoU",
    "boundary_miou": "boundary mIoU",
    "miou_images": "image-wise mIoU",
    "mdice_images": "image-wise mDice",
    "miou_classes": "class-wise mIoU",
    "mdice_classes": "class-wise mDice",
}


@dataclass(frozen=True)
class LabelMeans:
    """The scores that exist for one class per pixel, but not for masks, which may overlap."""

    pixel_accuracy: float | None
    frequency_weighted_iou: float | None


@dataclass(frozen=True)
class BoundaryMeans:
    """The scores that exist if boundaries were counted."""

    boundary_miou: float | None


@dataclass(frozen=True)
class Means:
    """Every mean over the classes of interest, as a share; None if undefined.

    Attributes:
        labels, boundary: None if the evaluation does not have them.
    """

    miou: float | None
    mdice: float | None
    mean_accuracy: float | None
    mean_precision: float | None
    images: ImageWise
    labels: LabelMeans | None
    boundary: BoundaryMeans | None

    def by_key(self) -> dict[str, float | None]:
        """The means that the evaluation has, in the order of MEANS."""
        parts = (self, self.images, self.labels, self.boundary)
        values = {key: value for part in parts if part is not None for key, value in vars(part).items()}
        return {key: values[key] for key in MEANS if key in values}


@dataclass(frozen=True)
class ClassFigures(ClassScore):
    """One class's scores, name and boundary IoU, which is None if undefined or not counted."""

    name: str
    boundary_iou: float | None

    def as_dict(self, boundary: bool) -> dict[str, Any]:
        """The values for JSON and CSV; `boundary` says whether boundaries were counted."""
        values = dataclasses.asdict(self)
        edge = {"boundary_iou": values.pop("boundary_iou")} if boundary else {}
        return {"name": values.pop("name"), **{key: values[key] for key in _CLASS_KEYS}, **edge}


_CLASS_KEYS = tuple(entry.name for entry in dataclasses.fields(ClassScore))


def means(evaluation: Evaluation) -> Means:
    """Every mean of an evaluation."""
    total, of = evaluation.counts.sum(), evaluation.interest
    confusion, boundary = evaluation.confusion, evaluation.boundary
    return Means(
        miou=total.miou(of),
        mdice=class_mean(total.dice(), of),
        mean_accuracy=class_mean(total.recall(), of),
        mean_precision=class_mean(total.precision(), of),
        images=image_wise(evaluation.counts, of),
        labels=None
        if confusion is None
        else LabelMeans(confusion.pixel_accuracy(), confusion.frequency_weighted_iou()),
        boundary=None if boundary is None else BoundaryMeans(boundary.sum().miou(of)),
    )


def classes(evaluation: Evaluation) -> list[ClassFigures]:
    """One entry per class, in the order of the ids."""
    scores = class_scores(evaluation.counts.sum())
    edges = evaluation.boundary.sum().iou() if evaluation.boundary else np.full(len(scores), np.nan)
    return [
        ClassFigures(**vars(score), name=name, boundary_iou=number(edge))
        for name, score, edge in zip(evaluation.class_names, scores, edges, strict=True)
    ]


def to_json(evaluation: Evaluation, metric: str = "standard") -> dict[str, Any]:
    """Plain values for a JSON file; scores of classes that do not occur are null.

    With metric "caffe", the key `caffe` also holds the three numbers of Caffe's SegAccuracy.
    """
    content: dict[str, Any] = {
        **means(evaluation).by_key(),
        "classes": _class_rows(evaluation),
        "images": evaluation.images,
        "images_scored": image_wise(evaluation.counts, evaluation.interest).images,
        "backend": evaluation.backend,
        "preprocess": evaluation.preprocess and json.loads(evaluation.preprocess.to_json()),
        "protocol": dataclasses.asdict(evaluation.protocol),
        "rule": dataclasses.asdict(evaluation.rule),
        "classes_of_interest": evaluation.interest and list(evaluation.interest),
        "boundary_width": evaluation.band,
        "confusion": evaluation.confusion and evaluation.confusion.matrix.tolist(),
        "metric": metric,
        "warnings": [{"kind": kind, "found": found} for kind, found, _ in evaluation.warnings],
        "skipped": [{"image": name, "why": why} for name, why in evaluation.skipped.items()],
        "stopped": evaluation.stopped or None,
    }
    if metric == "caffe":
        caffe = evaluation.require_confusion().caffe_scores()
        content["caffe"] = [caffe.pixel_accuracy, caffe.mean_recall, caffe.mean_iou]
    return content


def all_to_json(
    evaluations: Mapping[str, Evaluation], differences: Mapping[str, Difference | None], metric: str
) -> dict[str, Any]:
    """One model: `to_json`. Several: `models` by name and their `differences` from the first."""
    if len(evaluations) == 1:
        return to_json(next(iter(evaluations.values())), metric)
    return {
        "models": {name: to_json(evaluation, metric) for name, evaluation in evaluations.items()},
        "differences": {
            name: difference and dataclasses.asdict(difference) for name, difference in differences.items()
        },
    }


def to_csv(evaluations: Mapping[str, Evaluation]) -> str:
    """One line per model and class, and one per model for its means. Columns: model, scope, name, scores.

    Scores are shares in full precision; undefined ones are empty.
    """
    rows = [row for name, evaluation in evaluations.items() for row in _csv_rows(name, evaluation)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(evaluations: Mapping[str, Evaluation], differences: Mapping[str, Difference | None]) -> str:
    """Tables for a paper: the means of each model, and the IoU of each class, in percent.

    Args:
        differences: model -> how far its mIoU is from the first model's.
    """
    rows = {name: means(evaluation).by_key() for name, evaluation in evaluations.items()}
    keys = [key for key in MEANS if any(key in row for row in rows.values())]
    head = ["model", *(MEANS[key] for key in keys)]
    body = [[name, *(percent(row.get(key)) for key in keys)] for name, row in rows.items()]
    if differences:
        head.append("difference of mIoU (95 % interval)")
        found = [differences.get(name) for name in evaluations]
        body = [[*row, entry.text() if entry else "-"] for row, entry in zip(body, found, strict=True)]
    names = next(iter(evaluations.values())).class_names
    scores = [
        [name, *(percent(figures.iou) for figures in classes(evaluation))]
        for name, evaluation in evaluations.items()
    ]
    return f"{_table(head, body)}\n{_table(['IoU', *names], scores)}"


def percent(value: float | None) -> str:
    """A share in percent with two decimals, or a dash if undefined."""
    return "-" if value is None else f"{100 * value:.2f}"


def _csv_rows(name: str, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    yield {
        "model": name,
        "scope": "set",
        "name": "",
        **means(evaluation).by_key(),
        "images": evaluation.images,
    }
    for row in _class_rows(evaluation):
        yield {"model": name, "scope": "class", **row}


def _class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [figures.as_dict(evaluation.boundary is not None) for figures in classes(evaluation)]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
