"""Charts: the same shapes as SVG and as PNG, everything inside the frame."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.charts import (
    Bars,
    Chart,
    Line,
    Panel,
    bar_chart,
    curve_chart,
    matrix_chart,
    svg_text,
    write_chart,
)
from rlossctl.charts.png import SCALE
from rlossctl.charts.shapes import Rect, Stroke, Text, text_width
from rlossctl.evaluation.reporting.charts import _ramp

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["a < b", "a class with a name that is so long that it does not fit", "c"]
CHARTS = {
    "bars": bar_chart(Bars(NAMES, {"one": [0.0, 50.0, 100.0], "two": [None, 12.5, 99.0]}, "IoU, %"), "bars"),
    "matrix": matrix_chart([[1, 0, 0], [0.25, 0.75, 0], [math.nan] * 3], NAMES, _ramp, "matrix"),
    "many": matrix_chart(np.eye(40).tolist(), [f"class {n}" for n in range(40)], _ramp, "many classes"),
    "curves": curve_chart([Panel("loss", [Line("run", range(99), [1 / (1 + n) for n in range(99)])])]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_everything_is_inside_the_frame(name: str) -> None:
    chart = CHARTS[name]
    for shape in chart.shapes:
        if isinstance(shape, Rect):
            assert shape.x >= 0 and shape.y >= 0 and shape.width >= 0
            assert shape.x + shape.width <= chart.width + 0.1 and shape.y + shape.height <= chart.height + 0.1
        if isinstance(shape, Text) and not shape.upwards:
            width = text_width(shape.text, shape.size)
            left = shape.x - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
            assert left >= -1 and left + width <= chart.width + 1, shape.text
        if isinstance(shape, Stroke):
            assert all(0 <= x <= chart.width and 0 <= y <= chart.height for x, y in shape.points)


@pytest.mark.parametrize("name", CHARTS)
def test_both_files_show_the_same(name: str, tmp_path: Path) -> None:
    chart = CHARTS[name]
    write_chart(tmp_path / "figures", name, chart)
    root = ElementTree.fromstring((tmp_path / "figures" / f"{name}.svg").read_text())
    texts = [shape.text for shape in chart.shapes if isinstance(shape, Text)]
    assert [node.text for node in root.iter(f"{SVG}text")] == texts
    with Image.open(tmp_path / "figures" / f"{name}.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[:2] == (round(chart.height * SCALE), round(chart.width * SCALE))
    covered: list[Rect] = [shape for shape in chart.shapes if isinstance(shape, Rect) and shape.width > 8]
    for rect in covered[-3:]:
        x, y = round((rect.x + 2) * SCALE), round((rect.y + rect.height / 2) * SCALE)
        assert "#{:02x}{:02x}{:02x}".format(*pixels[y, x]) == rect.fill.replace("grid", "#d7dce1")


def test_values_stand_at_their_bars() -> None:
    shapes = bar_chart(Bars(["x", "y"], {"model": [20.0, 80.0]}, "IoU, %"), "bars").shapes
    bars = [shape for shape in shapes if isinstance(shape, Rect) and shape.fill.startswith("#")]
    assert bars[1].width == pytest.approx(4 * bars[0].width)
    assert {"20.0", "80.0"} <= {shape.text for shape in shapes if isinstance(shape, Text)}


def test_a_themed_chart_leaves_colours_to_its_page() -> None:
    chart = Chart("t", 10, 10, [Text(1, 5, "ink")])
    assert "var(--chart-ink)" in svg_text(chart, themed=True)
    assert "var(" not in svg_text(chart)
