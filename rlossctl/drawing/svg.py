"""Writing an arranged drawing as SVG."""

from __future__ import annotations

import itertools
from xml.sax.saxutils import escape

from rlossctl.drawing.boxes import Box
from rlossctl.drawing.layout import LINE, PAD, Drawing, Place

MARGIN, HEAD = 20, 30
# Classes of boxes by the type of their first layer; others have the name of their role. And their colours.
CLASSES = {
    "Convolution": "conv",
    "Deconvolution": "conv",
    "InnerProduct": "conv",
    "Pooling": "pool",
    "Eltwise": "join",
    "Concat": "join",
    "Interp": "resize",
}
COLOURS = {
    "layer": "#f2f2f2",
    "conv": "#dbe9f6",
    "pool": "#e2f0d9",
    "join": "#fff2cc",
    "resize": "#e8e0f0",
    "data": "#d9d9d9",
    "loss": "#f8d7da",
    "metric": "#f5e6d3",
}
STYLE = (
    "text{font-family:DejaVu Sans Mono,Menlo,Consolas,monospace;font-size:10px;fill:#222}"
    ".t{font-weight:bold}.s{fill:#666}.h{font-size:13px;font-weight:bold}"
    ".line{fill:none;stroke:#555;stroke-width:1}.box rect{stroke:#555;stroke-width:1}"
) + "".join(f".{name} rect{{fill:{colour}}}" for name, colour in COLOURS.items())


def picture(drawing: Drawing, title: str) -> str:
    """The SVG document."""
    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN + HEAD
    width = max(width, 8 * len(title) + 2 * MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        arrow("a", ' style="fill:#555"'),
        f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:#fff"/>',
        f'<text class="h" x="{MARGIN}" y="{MARGIN + 4}">{escape(title)}</text>',
        f'<g transform="translate({MARGIN},{MARGIN + HEAD})">',
        *lines(drawing, "a"),
        *(box(place, place.box) for place in drawing.places if place.box is not None),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def arrow(name: str, style: str = "") -> str:
    """The head of a line, to be referred to by name."""
    return (
        f'<defs><marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path d="M0,0L8,4L0,8z"{style}/></marker></defs>'
    )


def lines(drawing: Drawing, head: str) -> list[str]:
    """All lines, each through its bends."""
    return [_line([drawing.places[index] for index in line], head) for line in drawing.lines]


def _line(places: list[Place], head: str) -> str:
    """A line from the lower edge of the first place to the upper edge of the last, through the bends."""
    first, *bends, last = places
    points = [(first.x, first.y + first.height / 2), *((bend.x, bend.y) for bend in bends)]
    points.append((last.x, last.y - last.height / 2))
    path = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        path.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
    return f'<path class="line" d="{"".join(path)}" marker-end="url(#{head})"/>'


def box(place: Place, box: Box, attributes: str = "") -> str:
    """A box with its texts, moved to its place.

    Args:
        attributes: more of its element, from a leading space on.
    """
    left, top = place.x - place.width / 2, place.y - place.height / 2
    kind = box.kinds[0].split(" ")[0].rstrip(",")
    style = CLASSES.get(kind, "layer") if box.role == "layer" else box.role
    frame = f'width="{place.width:.1f}" height="{place.height:.1f}" rx="4"'
    parts = [f"<rect {frame}/>"]
    if box.times > 1:  # a second sheet behind the box, and the number of repetitions
        parts.insert(0, f'<rect {frame} transform="translate(4,4)"/>')
        edge, line = place.width - PAD, PAD + LINE - 4
        parts.append(f'<text class="t" text-anchor="end" x="{edge:.1f}" y="{line:.1f}">x {box.times}</text>')
    texts = [("t", box.title), *(("", kind) for kind in box.kinds), ("s", box.shape)]
    for number, (name, text) in enumerate((name, text) for name, text in texts if text):
        named = f' class="{name}"' if name else ""
        parts.append(f'<text{named} x="{PAD}" y="{PAD + LINE * (number + 1) - 4}">{escape(text)}</text>')
    move = f'transform="translate({left:.1f},{top:.1f})"'
    return f'<g class="box {style}" {move}{attributes}>{" ".join(parts)}</g>'
