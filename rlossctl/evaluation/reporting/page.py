"""The report's page: one HTML text with styles, script and pictures inside, and without external links."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from rlossctl.data.drawing import Panel, enlarge
from rlossctl.evaluation.reporting import table
from rlossctl.evaluation.reporting.heat import heat_map, heat_style
from rlossctl.evaluation.reporting.pictures import RIGHT, WRONG
from rlossctl.evaluation.scoring import results
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.results import percent

_WIDEST = 420  # a panel's width on the page, in pixels; the PNG files keep the full size
_HERE = Path(__file__).parent
# The page fetches nothing, whatever a class is called.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
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
        name: its name on the page.
        rows: RGB panels with captions.
        classes: the class ids that occur in it.
        scores: image-wise IoU by model, NaN if undefined.
    """

    index: int
    name: str
    rows: list[list[Panel]]
    classes: list[int]
    scores: dict[str, float]


def render_page(
    title: str, evaluations: Mapping[str, Evaluation], examples: Sequence[Example], colours: np.ndarray
) -> str:
    """The whole page as text; `colours` are the classes', uint8 [256, 3] RGB."""
    names = next(iter(evaluations.values())).class_names
    body = [
        f'<header><h1>{escape(title)}</h1><button id="theme" class="theme" type="button" hidden>'
        "Switch theme</button></header>",
        _warnings(evaluations),
        _summary(evaluations),
        _per_class(evaluations, names, colours),
        _confusion(evaluations, names),
        _examples(examples, list(evaluations), names, colours),
    ]
    style = f"{_part('page.css')}\n{heat_style()}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n"
        '<a class="skip" href="#images">Skip to the images</a>\n<main>\n'
        + "\n".join(part for part in body if part)
        + f"\n</main>\n<script>\n{_part('page.js')}</script>\n</body>\n</html>\n"
    )


def _warnings(evaluations: Mapping[str, Evaluation]) -> str:
    """Reasons to doubt the scores; one that all models have, as for the labels of their list, stands once."""
    models: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for text in table.warning_texts(evaluation):
            models.setdefault(text, []).append(name)
    items = [
        f"<li>{escape('' if len(names) == len(evaluations) else ', '.join(names) + ': ')}{escape(text)}</li>"
        for text, names in models.items()
    ]
    return f'<section class="warnings"><h2>Warnings</h2><ul>{"".join(items)}</ul></section>' if items else ""


def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _summary(evaluations: Mapping[str, Evaluation]) -> str:
    means = {name: results.means(entry).by_key() for name, entry in evaluations.items()}
    keys = [key for key in (*_SUMMARY, "miou_images") if any(key in row for row in means.values())]
    columns = [[row.get(key) for row in means.values()] for key in keys]
    rows = []
    for index, (name, entry) in enumerate(evaluations.items()):
        cells = "".join(_score_cell(column, index) for column in columns)
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{entry.images}</td>'
            f"<td>{entry.seconds:.1f}</td></tr>"
        )
    heads = ("model", *(results.MEANS[key] for key in keys), "images", "seconds")
    note = (
        "In percent, over all scored pixels of the set; image-wise: the mean over single images. Means leave "
        "out classes that occur neither in labels nor in predictions."
    )
    return f"<h2>Summary</h2>\n{_table(note, heads, rows)}\n{_ways(evaluations)}"


def _ways(evaluations: Mapping[str, Evaluation]) -> str:
    """How the models were run; models that were run alike share one entry."""
    ways: dict[str, list[str]] = {}
    for name, entry in evaluations.items():
        texts = {
            "run by": entry.backend,
            "input": table.describe_preprocess(entry.preprocess),
            "protocol": table.describe_protocol(entry.protocol, entry.preprocess),
            "rule": table.describe_rule(entry.rule),
        }
        parts = "".join(f"<dt>{title}</dt><dd>{escape(text)}</dd>" for title, text in texts.items())
        ways.setdefault(parts, []).append(name)
    return "\n".join(
        f'<dl class="way">{_models(names) if len(ways) > 1 else ""}{parts}</dl>'
        for parts, names in ways.items()
    )


def _models(names: Sequence[str]) -> str:
    return f"<dt>models</dt><dd>{escape(', '.join(names))}</dd>"


def _per_class(evaluations: Mapping[str, Evaluation], names: Sequence[str], colours: np.ndarray) -> str:
    scores = [results.classes(entry) for entry in evaluations.values()]
    boundary = next(iter(evaluations.values())).boundary is not None
    counted = {key: text for key, text in _PER_CLASS.items() if boundary or key != "boundary_iou"}
    more = counted if len(scores) == 1 else {}
    titles = list(evaluations) if len(scores) > 1 else ["IoU"]
    rows = []
    for index, name in enumerate(names):
        values = [entry[index].iou for entry in scores]
        cells = "".join(_score_cell(values, column, bar=True) for column in range(len(values)))
        cells += "".join(f"<td>{percent(getattr(scores[0][index], key))}</td>" for key in more)
        rows.append(
            f'<tr><th scope="row">{_swatch(colours[index])}{escape(name)}</th>{cells}'
            f"<td>{scores[0][index].pixels:,}</td></tr>"
        )
    heads = ("class", *titles, *more.values(), "labelled pixels")
    note = "In percent, over all scored pixels of the set."
    return f"<h2>IoU of each class</h2>\n{_table(note, heads, rows)}"


def _confusion(evaluations: Mapping[str, Evaluation], names: Sequence[str]) -> str:
    maps = [
        heat_map(entry.confusion.matrix, names, model)
        for model, entry in evaluations.items()
        if entry.confusion is not None
    ]
    if not maps:
        return ""
    return (
        '<h2>Confusion</h2>\n<p class="legend">How much of each true class (row) was predicted as each class '
        f'(column), in percent.</p>\n<div class="maps">{"".join(maps)}</div>'
    )


def _table(note: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return (
        f'<p class="legend">{note}</p>\n<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _score_cell(values: Sequence[float | None], index: int, bar: bool = False) -> str:
    value = values[index]
    shown = [round(entry, 4) for entry in values if entry is not None]  # figures that look equal are equal
    best = value is not None and round(value, 4) == max(shown) > min(shown)
    classes = [name for name, wanted in (("bar", bar), ("best", best)) if wanted]
    share = f' style="--share:{100 * (value or 0):.1f}%"' if bar else ""
    name = f' class="{" ".join(classes)}"' if classes else ""
    # The best of a row is bold; screen readers say so.
    return f"<td{name}{share}>{percent(value)}{'<span class=unseen> (best)</span>' if best else ''}</td>"


def _examples(
    examples: Sequence[Example], models: Sequence[str], names: Sequence[str], colours: np.ndarray
) -> str:
    if not examples:
        return ""
    occurring = sorted({index for example in examples for index in example.classes})
    classes = "".join(f'<option value="{index}">{escape(names[index])}</option>' for index in occurring)
    by = [f" by {escape(model)}" if len(models) > 1 else "" for model in models]
    ways = [(way, index) for index in range(len(models)) for way in ("worst", "best")]
    orders = "".join(f'<option value="{way} {index}">{way} first{by[index]}</option>' for way, index in ways)
    articles = "\n".join(_example(example, names, colours) for example in examples)
    return (
        '<h2 id="images" tabindex="-1">Images</h2>\n'
        "<p>The images with the lowest and the highest image-wise IoU"
        f"{f' of {escape(models[0])}' if len(models) > 1 else ''}.</p>\n{_error_legend()}"
        '<div id="controls" class="controls" hidden><label>Contains class '
        f'<select id="class"><option value="">any</option>{classes}</select></label>'
        f'<label>Order <select id="order">{orders}<option value="list">as in the list</option></select>'
        "</label>"
        f'<output id="shown" aria-live="polite"></output></div>\n<div id="examples">\n{articles}\n</div>'
    )


def _example(example: Example, names: Sequence[str], colours: np.ndarray) -> str:
    legend = "".join(
        f'<span class="entry">{_swatch(colours[index])}{escape(names[index])}</span>'
        for index in example.classes
    )
    known = {model: score for model, score in example.scores.items() if not np.isnan(score)}
    shown = ", ".join(f"{model} {100 * score:.1f}" for model, score in known.items())
    if len(example.scores) == 1:
        shown = "".join(f"{100 * score:.1f}" for score in known.values())
    figures = "".join(
        f'<figure><img src="{_data_uri(panel)}" alt="{escape(caption)} of {escape(example.name)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for row in example.rows
        for caption, panel in row
    )
    scores = " ".join(f"{-1 if np.isnan(score) else score:.6f}" for score in example.scores.values())
    return (
        f'<article data-index="{example.index}" data-scores="{scores}" '
        f'data-classes="{" ".join(map(str, example.classes))}">'
        f"<h3>{escape(example.name)}{f': IoU {escape(shown)}' if shown else ''}</h3>"
        f'<p class="legend">{legend}</p>\n<div class="grid" '
        f'style="grid-template-columns:repeat({len(example.rows[0])},minmax(150px,{_WIDEST}px))">'
        f"{figures}</div></article>"
    )


def _error_legend() -> str:
    return (
        f'<p class="legend"><span class="entry">{_square(WRONG)}wrong</span>'
        f'<span class="entry">{_square(RIGHT)}right</span>'
        f'<span class="entry">{_square((255, 255, 255))}not scored</span></p>\n'
    )


def _swatch(colour: np.ndarray) -> str:
    return _square(colour.tolist())


def _square(colour: Sequence[int]) -> str:
    return f'<span class="swatch" style="background:rgb({",".join(map(str, colour))})"></span>'


def _data_uri(panel: np.ndarray) -> str:
    image = Image.fromarray(enlarge(panel))
    if image.width > _WIDEST:
        size = (_WIDEST, max(1, round(image.height * _WIDEST / image.width)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
