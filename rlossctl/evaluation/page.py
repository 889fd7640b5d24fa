"""The report's page: one HTML text with styles and pictures inside, no script, no link to anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from rlossctl.data.drawing import enlarge
from rlossctl.data.palette import voc_palette
from rlossctl.evaluation.evaluate import Evaluation
from rlossctl.evaluation.pictures import RIGHT, WRONG
from rlossctl.evaluation.table import describe_preprocess, percent

_WIDEST = 420  # pixels of a panel on the page; the PNG files keep the full size

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1c2126; --soft: #5a6570; --line: #d5dae0;
  --bar: #bcd7ee; --best: #0b5394; }
@media (prefers-color-scheme: dark) { :root { --back: #14181c; --text: #e6e9ec; --soft: #a0abb6;
  --line: #39424b; --bar: #1f4567; --best: #8fc7ff; } }
body { background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  max-width: 1500px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, .text { text-align: left; }
tbody th { white-space: nowrap; }
thead th { border-bottom: 2px solid var(--soft); }
td.best { font-weight: 700; color: var(--best); }
td.bar { min-width: 9rem; background: linear-gradient(90deg, var(--bar) var(--share), transparent 0); }
.swatch { display: inline-block; width: .85em; height: .85em; border: 1px solid var(--soft);
  border-radius: 2px; margin-right: .45em; vertical-align: -.08em; }
.legend { color: var(--soft); font-size: .9rem; margin: .2rem 0 .6rem; }
.legend span.entry { margin-right: 1.1em; white-space: nowrap; }
article { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.grid { display: grid; gap: .6rem; overflow-x: auto; }
figure { margin: 0; min-width: 150px; }
figure img { width: 100%; height: auto; display: block; border-radius: 3px; }
figcaption { font-size: .85rem; color: var(--soft); }
"""


@dataclass(frozen=True)
class Example:
    """One image on the page: its name, rows of captioned RGB panels, and the class ids that occur."""

    name: str
    rows: list[list[tuple[str, np.ndarray]]]
    classes: list[int]


def render_page(title: str, evaluations: Mapping[str, Evaluation], examples: Sequence[Example]) -> str:
    """The whole page as text."""
    names = next(iter(evaluations.values())).class_names
    body = [
        f"<h1>{escape(title)}</h1>",
        _summary(evaluations),
        _per_class(evaluations, names),
    ]
    if examples:
        body.append("<h2>Images</h2>")
        body.append(_error_legend())
        body += [_example(example, names) for example in examples]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _summary(evaluations: Mapping[str, Evaluation]) -> str:
    heads = ("model", "mIoU", "pixel accuracy", "mean accuracy", "images", "seconds")
    columns = [
        [entry.confusion.miou() for entry in evaluations.values()],
        [entry.confusion.pixel_accuracy() for entry in evaluations.values()],
        [entry.confusion.mean_accuracy() for entry in evaluations.values()],
    ]
    rows = []
    for index, (name, entry) in enumerate(evaluations.items()):
        cells = "".join(_score_cell(column, index) for column in columns)
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{entry.images}</td>'
            f'<td>{entry.seconds:.1f}</td><td class="text">{escape(entry.backend)}</td>'
            f'<td class="text">{escape(describe_preprocess(entry.preprocess))}</td></tr>'
        )
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    head += "".join(f'<th scope="col" class="text">{text}</th>' for text in ("run by", "input"))
    return (
        f'<h2>Summary</h2>\n<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
        '<p class="legend">Percent, over all scored pixels of the set (one confusion matrix). Classes that '
        "neither labels nor predictions hold are left out of the mean.</p>"
    )


def _per_class(evaluations: Mapping[str, Evaluation], names: Sequence[str]) -> str:
    scores = [entry.confusion.classes() for entry in evaluations.values()]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in evaluations)
    rows = []
    for index, name in enumerate(names):
        values = [entry[index].iou for entry in scores]
        cells = "".join(_score_cell(values, column, bar=True) for column in range(len(values)))
        rows.append(
            f'<tr><th scope="row">{_swatch(index)}{escape(name)}</th>{cells}'
            f"<td>{scores[0][index].pixels:,}</td></tr>"
        )
    return (
        "<h2>IoU of each class</h2>\n"
        f'<div class="wide"><table><thead><tr><th scope="col">class</th>{head}'
        f'<th scope="col">labelled pixels</th></tr></thead>\n<tbody>{"".join(rows)}</tbody></table></div>'
    )


def _score_cell(values: Sequence[float | None], index: int, bar: bool = False) -> str:
    value = values[index]
    defined = [entry for entry in values if entry is not None]
    classes = ["bar"] if bar else []
    if value is not None and value == max(defined) > min(defined):
        classes.append("best")
    share = f' style="--share:{100 * (value or 0):.1f}%"' if bar else ""
    name = f' class="{" ".join(classes)}"' if classes else ""
    return f"<td{name}{share}>{percent(value)}</td>"


def _example(example: Example, names: Sequence[str]) -> str:
    legend = "".join(
        f'<span class="entry">{_swatch(index)}{escape(names[index])}</span>' for index in example.classes
    )
    columns = len(example.rows[0])
    figures = "".join(
        f'<figure><img src="{_data_uri(panel)}" alt="{escape(caption)} of {escape(example.name)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for row in example.rows
        for caption, panel in row
    )
    return (
        f"<article><h3>{escape(example.name)}</h3>"
        f'<p class="legend">{legend}</p>\n'
        f'<div class="grid" style="grid-template-columns:repeat({columns},minmax(150px,{_WIDEST}px))">'
        f"{figures}</div></article>"
    )


def _error_legend() -> str:
    return (
        f'<p class="legend"><span class="entry">{_square(WRONG)}wrong</span>'
        f'<span class="entry">{_square(RIGHT)}right</span>'
        f'<span class="entry">{_square((255, 255, 255))}not scored</span></p>'
    )


def _swatch(index: int) -> str:
    return _square(voc_palette()[index].tolist())


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
