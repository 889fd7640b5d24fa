"""Writing an arranged drawing as SVG."""

from __future__ import annotations

import itertools
from xml.sax.saxutils import escape

from rlossctl.drawing.boxes import Box
from rlossctl.drawing.layout import LINE, PAD, Drawing, Place

MARGIN, HEAD = 20, 30
# Fill colours by the type of the box's first layer; other types are coloured by role.
COLOURS = {
    "Convolution": "#dbe9f6",
    "Deconvolution": "#dbe9f6",
    "InnerProduct": "#dbe9f6",
    "Pooling": "#e2f0d9",
    "Eltwise": "#fff2cc",
    "Concat": "#fff2cc",
    "Interp": "#e8e0f0",
}
ROLES = {"data": "#d9d9d9", "loss": "#f8d7da", "metric": "#f5e6d3"}
STYLE = (
    "text{font-family:DejaVu Sans Mono,Menlo,Consolas,monospace;font-size:10px;fill:#222}"
    ".t{font-weight:bold}.s{fill:#666}.h{font-size:13px;font-weight:bold}"
    "path{fill:none;stroke:#555;stroke-width:1}rect{stroke:#555;stroke-width:1}"
)


def picture(drawing: Drawing, title: str) -> str:
    """The SVG document."""
    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN + HEAD
    width = max(width, 8 * len(title) + 2 * MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0,0L8,4L0,8z" style="fill:#555;stroke:none"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:#fff;stroke:none"/>',
        f'<text class="h" x="{MARGIN}" y="{MARGIN + 4}">{escape(title)}</text>',
        f'<g transform="translate({MARGIN},{MARGIN + HEAD})">',
        *(_line([drawing.places[index] for index in line]) for line in drawing.lines),
        *(_box(place, place.box) for place in drawing.places if place.box is not None),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _line(places: list[Place]) -> str:
    """A line from the lower edge of the first place to the upper edge of the last, through the bends."""
    first, *bends, last = places
    points = [(first.x, first.y + first.height / 2), *((bend.x, bend.y) for bend in bends)]
    points.append((last.x, last.y - last.height / 2))
    path = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        path.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
    return f'<path d="{"".join(path)}" marker-end="url(#a)"/>'


def _box(place: Place, box: Box) -> str:
    left, top = place.x - place.width / 2, place.y - place.height / 2
    kind = box.kinds[0].split(" ")[0].rstrip(",")
    fill = COLOURS.get(kind, "#f2f2f2") if box.role == "layer" else ROLES.get(box.role, "#f2f2f2")
    frame = f'x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="4"'
    parts = [f'<rect {frame} style="fill:{fill}"/>']
    if box.times > 1:  # a second sheet behind the box, and the number of repetitions
        parts.insert(0, f'<rect {frame} transform="translate(4,4)" style="fill:{fill}"/>')
        edge, line = left + place.width - PAD, top + PAD + LINE - 4
        parts.append(f'<text class="t" text-anchor="end" x="{edge:.1f}" y="{line:.1f}">x {box.times}</text>')
    texts = [("t", box.title), *(("", kind) for kind in box.kinds), ("s", box.shape)]
    for number, (style, text) in enumerate((style, text) for style, text in texts if text):
        y = top + PAD + LINE * (number + 1) - 4
        parts.append(f'<text class="{style}" x="{left + PAD:.1f}" y="{y:.1f}">{escape(text)}</text>')
    return "".join(parts)
