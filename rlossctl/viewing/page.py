"""The page of one net or two (nets.html): drawings as SVG, and as JSON what its script needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import NamedTuple

from rlossctl.drawing.boxes import Box
from rlossctl.drawing.layout import place_of
from rlossctl.drawing.svg import arrow, box, lines
from rlossctl.pages import render
from rlossctl.pages.cells import Cell
from rlossctl.viewing.cards import NetView

_HERE = Path(__file__).parent
_MARGIN = 24


class Changed(NamedTuple):
    """One difference: its sign, the layer that it is about, and what to say of it."""

    sign: str
    layer: str
    text: str


@dataclass(frozen=True)
class NetPage:
    """What the page shows.

    Attributes:
        title: its heading.
        views: a net, or two to compare.
        facts: a few words on the net, and where the page comes from, by what it calls them.
        heads, rows: the table of the layers, whose first cells are layers' names.
        changes: what differs between two nets; None for a single one.
    """

    title: str
    views: Sequence[NetView]
    facts: Mapping[str, str]
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    changes: Sequence[Changed] | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def render_nets(page: NetPage) -> str:
    """The page as text."""
    return render(
        _HERE,
        "nets.html",
        title=page.title,
        page=page,
        pictures=[_picture(view, f"head{index}") for index, view in enumerate(page.views)],
        data=[_data(view) for view in page.views],
    )


def _picture(view: NetView, head: str) -> str:
    """The drawing with all boxes open; the boxes of its blocks wait, unseen."""
    width, height = view.drawing.width + 2 * _MARGIN, view.drawing.height + 2 * _MARGIN
    parts = [
        f'<svg class="net" viewBox="{-_MARGIN} {-_MARGIN} {width:.0f} {height:.0f}" role="group" '
        f'aria-label="Drawing of {escape(view.title)}">{arrow(head)}<g class="view">',
        *lines(view.drawing, head),
        *_boxes(view),
        "</g></svg>",
    ]
    return "\n".join(parts)


def _boxes(view: NetView) -> Iterator[str]:
    for index, place in enumerate(view.drawing.places):
        if place.box is not None:
            yield box(place, place.box, _button("box", index, _words(place.box)))
    for index, block in enumerate(view.blocks):
        button = _button("block", index, f"x {block.box.times} {_words(block.box)}")
        yield box(place_of(block.box), block.box, f' visibility="hidden" aria-expanded="false"{button}')


def _button(kind: str, index: int, words: str) -> str:
    return f' data-{kind}="{index}" tabindex="-1" role="button" aria-label="{escape(words)}"'


def _words(one: Box) -> str:
    """The texts in a box, as they stand there."""
    return " ".join(filter(None, [one.title, *one.kinds, one.shape]))


def _data(view: NetView) -> dict[str, object]:
    """What the script needs. Boxes are the first places; a place is [x, row, width, height]."""
    places = view.drawing.places
    return {
        "title": view.title,
        "places": [[round(p.x, 1), p.row, round(p.width, 1), round(p.height, 1)] for p in places],
        "lines": view.drawing.lines,
        "boxes": [place.box.layers for place in places if place.box is not None],
        "blocks": [
            {
                "title": block.box.title,
                "times": block.box.times,
                "start": block.start,
                "end": block.end,
                "size": _size(block.box),
            }
            for block in view.blocks
        ],
        "layers": [asdict(layer) for layer in view.layers],
    }


def _size(one: Box) -> list[float]:
    place = place_of(one)
    return [round(place.width, 1), round(place.height, 1)]
