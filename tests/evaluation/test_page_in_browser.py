"""The report's page in a real browser: no errors, nothing fetched, the filter and the order work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import BROWSER, Tab
from PIL import Image

from rlossctl.evaluation import OnnxRunner, evaluate, write_report
from rlossctl.evaluation.running.open_model import open_list

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt install chromium)"),
    pytest.mark.slow,
]
VISIBLE = "[...document.querySelectorAll('article')].filter(a => !a.hidden).map(a => a.dataset.index)"


@pytest.fixture
def page(tiny_model, make_model, voc_folder, tmp_path) -> Path:
    """A report on two models, the second of which confuses green with blue; one image has no class 2."""
    plain = np.eye(3)
    swapped = plain[[1, 0, 2]]
    metadata = {"preprocess": {"mean_bgr": [100.0, 110.0, 120.0], "crop": [64, 64]}, "num_classes": 3}
    other = make_model(tmp_path / "other.onnx", swapped, metadata)
    label = np.asarray(Image.open(voc_folder / "SegmentationClassAug/2007_000001.png")) % 2
    photo = np.zeros((*label.shape, 3), np.uint8)
    photo[label == 0, 2], photo[label == 1, 1] = 255, 255
    photo[:5] = photo[:5][:, :, [0, 2, 1]]
    Image.fromarray(label).save(voc_folder / "SegmentationClassAug/2007_000001.png")
    Image.fromarray(photo).save(voc_folder / "JPEGImages/2007_000001.png")
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    runners = {"first <model>": OnnxRunner(tiny_model, "cpu"), "second": OnnxRunner(other, "cpu")}
    names = ["blue", "green", "red & <b>"]
    results = {
        name: evaluate(runner, samples, pictures=[0, 1, 2], class_names=names, progress=False)
        for name, runner in runners.items()
    }
    return write_report(tmp_path / "report", results, title="Browser & <test>")


@pytest.fixture
def tab(page, tmp_path) -> Iterator[Tab]:
    """The page, opened."""
    opened = Tab(tmp_path / "profile")
    opened.open(page.as_uri())
    opened.until("document.readyState === 'complete'")
    yield opened
    assert opened.complaints == []
    assert all(address.startswith(("data:", page.as_uri())) for address in opened.requests)
    opened.close()


def pick(tab: Tab, name: str, value: str, event: str = "change") -> None:
    """Sets a control as a person does."""
    tab.js(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('{event}')) }})"
        f"(document.getElementById('{name}'))"
    )


def test_images_are_sorted_filtered_and_found(tab, page):
    scores = {
        match[0]: match[1].split()
        for match in re.findall(r'data-index="(\d)" data-scores="(.*?)"', page.read_text())
    }
    worst_first = sorted(scores, key=lambda index: float(scores[index][0]))
    assert tab.js(VISIBLE) == worst_first
    for order, wanted in (
        ("best 0", worst_first[::-1]),
        ("best 1", sorted(scores, key=lambda index: -float(scores[index][1]))),
        ("list", ["0", "1", "2"]),
    ):
        pick(tab, "order", order)
        assert tab.js(VISIBLE) == wanted
    pick(tab, "class", "2")
    assert tab.js(VISIBLE) == ["0", "2"]
    assert tab.js("document.getElementById('shown').textContent") == "2 of 3 images"
    pick(tab, "class", "")
    pick(tab, "search", "000002", "input")
    assert tab.js(VISIBLE) == ["2"]
    assert tab.js("[...document.images].filter(i => i.src).every(i => i.complete && i.naturalWidth > 0)")


def test_tables_are_sorted_by_their_headings(tab):
    rows = "[...document.querySelectorAll('.bars tbody tr')].map(r => r.cells[1].dataset.value * 1)"
    as_listed = tab.js(rows)
    click = "document.querySelectorAll('.bars thead button')[1].click()"
    for wanted in (sorted(as_listed, reverse=True), sorted(as_listed), as_listed):
        tab.js(click)
        assert tab.js(rows) == wanted
    assert tab.js("document.querySelectorAll('[aria-sort]').length") == 0


def test_the_matrix_is_read_by_pointing(tab):
    x, y = tab.js(
        "(c => { c.scrollIntoView({block: 'center'}); const r = c.getBoundingClientRect();"
        "return [r.x + r.width / 2, r.y + r.height / 2] })(document.querySelector('.heat tbody td'))"
    )
    tab.drag((x, y))
    said = tab.js("document.querySelector('.readout').textContent")
    assert said.startswith("blue predicted as blue: ") and said.endswith(" pixels")


def test_two_pictures_with_a_border_between_them(tab):
    tab.js("document.querySelector('figure[data-key=\"errors 1\"] .picture').click()")
    assert tab.js("document.getElementById('viewer').open")
    assert tab.js("document.getElementById('viewer-right').value") == "errors 1"
    left, top, width, height = tab.js(
        "(r => [r.x, r.y, r.width, r.height])"
        "(document.getElementById('viewer-inner').getBoundingClientRect())"
    )
    tab.drag((left + 0.2 * width, top + height / 2), (left + 0.75 * width, top + height / 2))
    assert abs(float(tab.js("document.getElementById('viewer-border').value")) - 75) <= 1
    before = tab.js("document.getElementById('viewer-title').textContent")
    tab.js("document.getElementById('viewer-next').click()")
    assert tab.js("document.getElementById('viewer-title').textContent") != before
    pick(tab, "viewer-zoom", "3", "input")
    assert tab.js("document.getElementById('viewer-inner').getBoundingClientRect().width") > 2.9 * width


def test_themes(tab):
    back = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for _ in range(3):
        seen.append(tab.js(back))
        tab.js("document.getElementById('theme').click()")
    assert seen == ["rgb(255, 255, 255)", "rgb(20, 24, 28)", "rgb(255, 255, 255)"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 3840])
def test_a_picture_of_the_page(tab, tmp_path, width, theme):
    tab.theme(theme)
    tab.resize(width, 1600)
    assert tab.js("document.documentElement.scrollWidth") <= width
    tab.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    back = {"light": (255, 255, 255), "dark": (20, 24, 28)}[theme]
    assert (pixels == back).all(axis=2).mean() > 0.3, "the page's background"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100, "and text and figures on it"
