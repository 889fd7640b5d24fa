"""A report folder: one self-contained page, pictures, palette PNGs and the numbers as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rlossctl.charts import write_chart
from rlossctl.data.drawing import Panel, montage, overlay
from rlossctl.data.palette import save_label_png
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.outputs import Look
from rlossctl.evaluation.reporting.charts import FOLDER, charts_of, file_name
from rlossctl.evaluation.reporting.examples import image_scores
from rlossctl.evaluation.reporting.layers import choose_side, draw_layers
from rlossctl.evaluation.reporting.page import Example, render_page
from rlossctl.evaluation.reporting.pictures import error_map
from rlossctl.evaluation.scoring.evaluation import Evaluation, Picture
from rlossctl.evaluation.scoring.results import to_json
from rlossctl.files import atomic_write, make_folder


def write_report(
    folder: str | Path,
    evaluations: Mapping[str, Evaluation],
    title: str = "Evaluation",
    look: Look | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Path:
    """Writes a report on one or more models on the same list.

    The folder gets `index.html` (self-contained, so it opens from file:// without a network),
    `results.json`, `figures/` (charts for a paper, SVG and PNG), `images/NAME.png` (photo, truth and each
    model's prediction and errors side by side) and `predictions/MODEL/NAME.png` (palette PNGs whose pixel
    values are class ids). The pictures are the ones that the evaluations kept.

    Args:
        folder: created if missing; files of an earlier report with the same names are replaced.
        evaluations: model name -> its evaluation.
        title: the page's heading.
        look: colours and their opacity over the photos; VOC's, and a half, by default.
        provenance: where the results come from, for the page and results.json: command, date, versions,
            hashes.

    Returns:
        The path of index.html.

    Raises:
        UsageError: the evaluations have different classes or kept different images.
        RlossError: the folder cannot be written.
    """
    _check_same(evaluations)
    look = look or Look()
    folder = make_folder(folder)
    known = dict(provenance or {})
    results = {"models": {name: to_json(entry) for name, entry in evaluations.items()}, "provenance": known}
    with atomic_write(folder / "results.json") as file:
        file.write(json.dumps(results, indent=1).encode())
    charts = charts_of(evaluations)
    for name, chart in charts.items():
        write_chart(folder / FOLDER, name, chart)
    examples = list(_examples(folder, evaluations, look))
    with atomic_write(folder / "index.html") as file:
        file.write(
            render_page(
                title, evaluations, examples, look.colours, provenance=known, charts=list(charts)
            ).encode()
        )
    return folder / "index.html"


def _examples(folder: Path, evaluations: Mapping[str, Evaluation], look: Look) -> Iterator[Example]:
    """Writes the files of each kept image, and yields its entry on the page."""
    first = next(iter(evaluations.values()))
    if not first.pictures:
        return
    scores = {model: image_scores(entry.counts, entry.interest) for model, entry in evaluations.items()}
    ignore = first.require_confusion().ignore
    side = choose_side([_of_image(evaluations, index) for index in range(len(first.pictures))], look, ignore)
    titles = _titles([picture.name for picture in first.pictures])
    for index, name in enumerate(_picture_names(first.pictures)):
        pictures = {model: entry.pictures[index] for model, entry in evaluations.items()}
        place = first.pictures[index].index
        right = {model: entry.counts.image(place).pixel_accuracy() for model, entry in evaluations.items()}
        captions = _captions(right)
        _write_files(folder, name, pictures, captions, look, ignore)
        yield Example(
            index=place,
            title=titles[index],
            layers=draw_layers([*pictures.values()], [*pictures, *captions], look, (ignore, side)),
            classes=_classes_in(pictures, first),
            scores={model: float(values[place]) for model, values in scores.items()},
        )


def _of_image(evaluations: Mapping[str, Evaluation], index: int) -> list[Picture]:
    return [entry.pictures[index] for entry in evaluations.values()]


def _write_files(
    folder: Path,
    name: str,
    pictures: Mapping[str, Picture],
    captions: Sequence[str],
    look: Look,
    ignore: int,
) -> None:
    with atomic_write(make_folder(folder / "images") / f"{name}.png") as file:
        montage(_panels(pictures, captions, ignore, look)).save(file, format="PNG")
    for model, picture in pictures.items():
        target = make_folder(folder / "predictions" / file_name(model))
        save_label_png(target / f"{name}.png", picture.prediction, colours=look.colours)


def _captions(right: Mapping[str, float | None]) -> list[str]:
    """What stands below each model's errors: its share of right pixels."""
    captions = []
    for model, share in right.items():
        of = f"errors of {model}" if len(right) > 1 else "errors"
        captions.append(of if share is None else f"{of}: {100 * share:.1f} % right")
    return captions


def _panels(
    pictures: Mapping[str, Picture], captions: Sequence[str], ignore: int, look: Look
) -> list[list[Panel]]:
    """One row: photo, truth, prediction, errors. With several models, truth and errors get a second row."""
    first = next(iter(pictures.values()))
    photo = ("photo", np.ascontiguousarray(first.photo[:, :, ::-1]))
    truth = ("truth", overlay(first.photo, first.truth, look.opacity, look.colours))
    predictions, errors = [], []
    for caption, (model, picture) in zip(captions, pictures.items(), strict=True):
        shown = overlay(picture.photo, picture.prediction, look.opacity, look.colours)
        predictions.append((model, shown))
        errors.append((caption, error_map(picture.photo, picture.truth, picture.prediction, ignore)))
    if len(pictures) == 1:
        return [[photo, truth, *predictions, *errors]]
    return [[photo, *predictions], [truth, *errors]]


def _classes_in(pictures: Mapping[str, Picture], evaluation: Evaluation) -> list[int]:
    """Ids that occur in an image's truth or in any prediction of it, for its legend."""
    ids: set[int] = set()
    for picture in pictures.values():
        ids.update(np.unique(picture.truth).tolist(), np.unique(picture.prediction).tolist())
    return sorted(index for index in ids if index < evaluation.counts.hits.shape[1])


def _picture_names(pictures: list[Picture]) -> list[str]:
    """File names without folder and suffix; a number keeps equal ones apart."""
    names: list[str] = []
    for index, picture in enumerate(pictures):
        stem = file_name(Path(picture.name).stem)
        names.append(stem if stem not in names else f"{stem}_{index}")
    return names


def _titles(names: Sequence[str]) -> list[str]:
    """The images' names below the folder that they share."""
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(name)) for name in names])
    return [os.path.relpath(os.path.abspath(name), shared) for name in names]


def _check_same(evaluations: Mapping[str, Evaluation]) -> None:
    if not evaluations:
        raise UsageError("a report needs at least one evaluation")
    entries = list(evaluations.values())
    for name, entry in evaluations.items():
        same_images = [p.name for p in entry.pictures] == [p.name for p in entries[0].pictures]
        if entry.class_names != entries[0].class_names or not same_images:
            raise UsageError(
                "the models cannot be shown on one page",
                where=name,
                found="classes or images that differ from the first model's",
                expected="evaluations on the same list with the same classes",
                advice="evaluate them on one list, or write a report for each",
            )
    if len({file_name(name) for name in evaluations}) != len(evaluations):
        raise UsageError("two models would share a folder", found=", ".join(evaluations))
