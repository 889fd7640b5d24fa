"""A chart as SVG."""

from __future__ import annotations

from html import escape

from rlossctl.charts.shapes import THEMED, Chart, Dot, Rect, Shape, Stroke

_FONT = 'role="img" font-family="Helvetica,Arial,sans-serif"'


def svg_text(chart: Chart, themed: bool = False) -> str:
    """The SVG document.

    Args:
        themed: to stand in a page, whose style sets the colours of THEMED as `--chart-NAME`.
    """
    size = f'width="{chart.width:g}" height="{chart.height:g}"'
    size += f' viewBox="0 0 {chart.width:g} {chart.height:g}"'
    paper = Rect(0, 0, chart.width, chart.height, "paper")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT}>',
        f"<title>{escape(chart.title)}</title>",
        *(_element(shape, themed) for shape in (paper, *chart.shapes)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _element(shape: Shape, themed: bool) -> str:
    if isinstance(shape, Rect):
        frame = f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}"'
        return f"<rect {frame} {_paint('fill', shape.fill, themed)}/>"
    if isinstance(shape, Dot):
        place = f'cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}"'
        return f"<circle {place} {_paint('fill', shape.fill, themed)}/>"
    if isinstance(shape, Stroke):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in shape.points)
        paint = _paint("stroke", shape.colour, themed)
        return f'<path d="M{path}" fill="none" stroke-width="{shape.width:g}" {paint}/>'
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}"'
    place += f' text-anchor="{shape.anchor}"' * (shape.anchor != "start")
    place += ' font-weight="bold"' * shape.bold
    place += f' transform="rotate(-90 {shape.x:.1f} {shape.y:.1f})"' * shape.upwards
    return f"<text {place} {_paint('fill', shape.fill, themed)}>{escape(shape.text)}</text>"


def _paint(attribute: str, colour: str, themed: bool) -> str:
    if colour not in THEMED:
        return f'{attribute}="{colour}"'
    if themed:  # a style, because attributes do not know variables
        return f'style="{attribute}:var(--chart-{colour})"'
    return f'{attribute}="{THEMED[colour]}"'
