"""Charts for pages and papers: shapes once, written as SVG and as PNG."""

from rlossctl.charts.bars import Bars, bar_chart
from rlossctl.charts.curves import Line, Panel, curve_chart
from rlossctl.charts.matrix import matrix_chart
from rlossctl.charts.png import write_chart
from rlossctl.charts.shapes import Chart
from rlossctl.charts.svg import svg_text

__all__ = [
    "Bars",
    "Chart",
    "Line",
    "Panel",
    "bar_chart",
    "curve_chart",
    "matrix_chart",
    "svg_text",
    "write_chart",
]
