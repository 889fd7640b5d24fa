"""An evaluation's figures as plain values: JSON, rows for CSV, and a Markdown table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from rlossctl.counts import class_mean, image_wise
from rlossctl.evaluation.evaluate import Evaluation
from rlossctl.evaluation.scoring.bootstrap import Difference
from rlossctl.evaluation.scoring.confusion import class_scores, number

# The order of tables; what a matrix alone gives is missing where masks may overlap.
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


def means(evaluation: Evaluation) -> dict[str, float | None]:
    """Every mean by its key in MEANS, over the classes of interest; shares, None where undefined."""
    total, of = evaluation.counts.sum(), evaluation.interest
    values = {
        "miou": class_mean(total.iou(), of),
        "mdice": class_mean(total.dice(), of),
        "mean_accuracy": class_mean(total.recall(), of),
        "mean_precision": class_mean(total.precision(), of),
    }
    if evaluation.confusion is not None:
        values["pixel_accuracy"] = evaluation.confusion.pixel_accuracy()
        values["frequency_weighted_iou"] = evaluation.confusion.frequency_weighted_iou()
    if evaluation.boundary is not None:
        values["boundary_miou"] = class_mean(evaluation.boundary.sum().iou(), of)
    images = dataclasses.asdict(image_wise(evaluation.counts, of))
    return {
        key: values[key] if key in values else images[key] for key in MEANS if key in {**values, **images}
    }


def classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per class: name, iou, accuracy (recall), pixels, dice, precision, boundary_iou if counted."""
    scores = class_scores(evaluation.counts.sum())
    rows = [
        {"name": name, **dataclasses.asdict(score)}
        for name, score in zip(evaluation.class_names, scores, strict=True)
    ]
    if evaluation.boundary is not None:
        for row, value in zip(rows, evaluation.boundary.sum().iou(), strict=True):
            row["boundary_iou"] = number(value)
    return rows


def to_json(evaluation: Evaluation, metric: str = "standard") -> dict[str, Any]:
    """Plain values for a JSON file; scores of classes that do not occur are null.

    With metric "caffe" the key `caffe` holds the three numbers of Caffe's SegAccuracy, too.
    """
    content: dict[str, Any] = {
        **means(evaluation),
        "classes": classes(evaluation),
        "images": evaluation.images,
        "images_scored": image_wise(evaluation.counts, evaluation.interest).images,
        "seconds": evaluation.seconds,
        "backend": evaluation.backend,
        "preprocess": evaluation.preprocess and json.loads(evaluation.preprocess.to_json()),
        "protocol": dataclasses.asdict(evaluation.protocol),
        "rule": dataclasses.asdict(evaluation.rule),
        "classes_of_interest": evaluation.interest and list(evaluation.interest),
        "boundary_width": evaluation.band,
        "confusion": evaluation.confusion and evaluation.confusion.matrix.tolist(),
        "metric": metric,
    }
    if metric == "caffe":
        caffe = evaluation.confusion.caffe_scores()
        content["caffe"] = [caffe.pixel_accuracy, caffe.mean_recall, caffe.mean_iou]
    return content


def all_to_json(
    evaluations: Mapping[str, Evaluation], differences: Mapping[str, Difference | None], metric: str
) -> dict[str, Any]:
    """`to_json` of the one model; of several, `models` by name and their `differences` to the first."""
    if len(evaluations) == 1:
        return to_json(next(iter(evaluations.values())), metric)
    return {
        "models": {name: to_json(evaluation, metric) for name, evaluation in evaluations.items()},
        "differences": {
            name: difference and dataclasses.asdict(difference) for name, difference in differences.items()
        },
    }


def to_csv(evaluations: Mapping[str, Evaluation]) -> str:
    """One line per model and class, and one per model for its means: columns model, scope, name, then scores.

    Scores are shares in full precision, empty where undefined.
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
        differences: model -> its difference of mIoU to the first model's.
    """
    rows = {name: means(evaluation) for name, evaluation in evaluations.items()}
    keys = [key for key in MEANS if any(key in row for row in rows.values())]
    head = ["model", *(MEANS[key] for key in keys)]
    body = [[name, *(percent(row.get(key)) for key in keys)] for name, row in rows.items()]
    if differences:
        head.append("difference of mIoU (95 % interval)")
        found = [differences.get(name) for name in evaluations]
        body = [[*row, entry.text() if entry else "-"] for row, entry in zip(body, found, strict=True)]
    names = next(iter(evaluations.values())).class_names
    scores = [
        [name, *(percent(row["iou"]) for row in classes(evaluation))]
        for name, evaluation in evaluations.items()
    ]
    return f"{_table(head, body)}\n{_table(['IoU', *names], scores)}"


def percent(value: float | None) -> str:
    """A share as percent with two digits, or a dash where it is not defined."""
    return "-" if value is None else f"{100 * value:.2f}"


def _csv_rows(name: str, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    yield {"model": name, "scope": "set", "name": "", **means(evaluation), "images": evaluation.images}
    for row in classes(evaluation):
        yield {"model": name, "scope": "class", **row}


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
