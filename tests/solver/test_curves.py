"""The curves of a run: what a history keeps, and that the picture is drawn from it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

from rlossctl.charts import Line, Panel, curve_chart, svg_text
from rlossctl.charts.curves import POINTS
from rlossctl.solver.telling.curves import line_of, panels_of
from rlossctl.solver.telling.figures import StepFigures, Term, TestFigures
from rlossctl.solver.telling.history import History, Series

SVG = "{http://www.w3.org/2000/svg}"


def step(iteration: int, loss: float) -> StepFigures:
    terms = {"loss": Term(loss, 1.0), "crf": Term(-loss, 0.5)}
    return StepFigures(iteration, loss / 2, loss / 2, 0.1, terms, 0.01, {})


def test_a_history_keeps_what_curves_need() -> None:
    history = History()
    for iteration in range(3):
        history.updated(step(iteration, 4.0))
    history.tested(
        TestFigures(3, 0, None, {"mIoU": [0.5], "IoU": [0.5, 0.5], "loss": [1.0]}, ("mIoU", "IoU"))
    )
    assert history.loss == Series([0, 1, 2], [2.0, 2.0, 2.0])
    assert history.terms["crf"].values == [-2.0, -2.0, -2.0]
    assert history.tests == {"mIoU": Series([3], [0.5]), "loss": Series([3], [1.0])}
    assert [panel.title for panel in panels_of(history)] == [
        "objective and its weighted terms",
        "learning rate",
        "validation, %",
        "tests",
    ]


def test_a_resumed_run_overwrites_what_came_after() -> None:
    series = Series()
    for iteration, value in ((0, 1.0), (1, 2.0), (2, 3.0), (1, 4.0)):
        series.add(iteration, value)
    assert series == Series([0, 1], [1.0, 4.0])


def test_the_picture_has_every_line_inside_its_frame() -> None:
    long = Line("long", range(5 * POINTS), [math.sin(n / 9) for n in range(5 * POINTS)])
    short = line_of("short", Series([0, 900, 1400], [0.1, math.nan, 0.3]), percent=True)
    text = svg_text(curve_chart([Panel("a < b", [long]), Panel("score", [short])]))
    root = ElementTree.fromstring(text)
    lines = [
        path.get("d", "")[1:].split("L") for path in root.iter(f"{SVG}path") if path.get("fill") == "none"
    ]
    assert [len(line) for line in lines] == [POINTS, 2]
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    places = [tuple(map(float, place.split())) for line in lines for place in line]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)
    ticks = {node.text for node in root.iter(f"{SVG}text")}
    assert {"-0.5", "0", "0.5", "10", "20", "30", "500", "1000"} <= ticks
