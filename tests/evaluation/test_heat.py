"""The heat map of a confusion matrix: its numbers, and colours that can be read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rlossctl.evaluation.reporting.heat import RAMPS, STEPS, contrast, heat_map, heat_style, step_colours
from rlossctl.evaluation.reporting.page import _part


def variables(block: str) -> dict[str, tuple[int, int, int]]:
    """Colour variables of a CSS block."""
    found = re.findall(r"--([\w-]+): #(\w{6});", block)
    return {name: tuple(bytes.fromhex(value)) for name, value in found}


def test_contrast_is_that_of_wcag():
    assert contrast((0, 0, 0), (255, 255, 255)) == 21
    assert contrast((255, 255, 255), (0x76, 0x76, 0x76)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", RAMPS)
def test_every_step_can_be_read_and_steps_differ_in_lightness_alone(theme):
    steps = [step_colours(theme, step) for step in range(STEPS)]
    assert min(contrast(back, text) for back, text in steps) >= 4.5
    against_first = [contrast(back, steps[0][0]) for back, _ in steps]
    assert (np.diff(against_first) > 0).all()


def test_texts_of_the_page_can_be_read_in_both_themes():
    style = _part("page.css")
    blocks = {"light": style.split("}")[0], "dark": style.split("}")[1]}
    for theme, block in blocks.items():
        colours = variables(block)
        for text in ("text", "soft", "accent"):
            for back in ("back", "raised"):
                assert contrast(colours[text], colours[back]) >= 4.5, (theme, text, back)
        assert contrast(colours["text"], colours["bar"]) >= 4.5
        assert contrast(colours["focus"], colours["back"]) >= 3
    again = style.split("prefers-color-scheme: dark)")[1]
    assert variables(again.split("}")[0]) == variables(blocks["dark"]), "the two ways into the dark agree"


def test_cells_are_shares_of_the_true_class():
    matrix = np.array([[90, 10, 0], [0, 0, 0], [1, 2, 997]])
    text = heat_map(matrix, ["a", "b <i>", "c"], "net")
    cells = re.findall(r'<td class="h(\d+)( own)?"[^>]*>([^<]*)</td>', text)
    assert cells[:3] == [("18", " own", "90"), ("2", "", "10"), ("0", "", "")]
    assert [cell[2] for cell in cells[3:6]] == ["-", "-", "-"], "no true pixel of the class"
    assert cells[6:] == [("0", "", ""), ("0", "", ""), ("20", " own", "100")]
    assert "b <i>" not in text and "b &lt;i&gt;" in text
    worst = re.findall("<li>(.*?)</li>", text)
    assert worst[:2] == ["a as b &lt;i&gt;: 10.0 % of the class", "c as b &lt;i&gt;: 0.2 % of the class"]


def test_the_style_has_every_step_twice():
    style = heat_style()
    for step in range(STEPS):
        assert len(re.findall(rf"\.h{step} ", style)) == 3
