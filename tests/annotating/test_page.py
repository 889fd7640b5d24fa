"""The page in a real browser: draw, undo, kill the server, go on, and train on what was drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import BROWSER, Tab

from rlossctl.cli.train import command as train_command
from rlossctl.data.images import read_label

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt install chromium)"),
    pytest.mark.slow,
]
SAVED = "document.getElementById('status').textContent === 'saved'"
READY = "document.getElementById('stage').getAttribute('aria-busy') === 'false'"
NET = """name: "tiny"
layer { name: "data" type: "ImageSegData" top: "data" top: "label"
  transform_param { crop_size: 33 mirror: true mean_value: 100 }
  image_data_param { SOURCE batch_size: 2 shuffle: true } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 } }
"""
SOLVER = 'net: "net.prototxt" base_lr: 1e-5 lr_policy: "fixed" max_iter: 10 snapshot_prefix: "s"'
PLACE = "(r => [r.left, r.top, r.width, r.height])(document.getElementById('canvas').getBoundingClientRect())"
SEARCH = "(e => { e.value = '0999'; e.dispatchEvent(new Event('input')) })(document.getElementById('search'))"


class Running:
    """`rlossctl annotate` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        arguments = ["annotate", "photos", "-o", "labels", "--classes", "names.txt", "--width", "5"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rlossctl", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        said = []
        while not (said and said[-1].startswith("open ")):
            said.append(self.process.stdout.readline())
            if not said[-1]:
                self.kill()
                raise AssertionError("".join(said))
        self.url = said[-1].split()[1]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def serve(photos: Path) -> Iterator[Callable[[], Running]]:
    """serve(): starts the command, as often as it is called."""
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(photos.parent))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    opened = Tab(tmp_path / "profile")
    yield opened
    opened.close()


class Hand:
    """Draws on the photo that the page shows, at shares of its width and height."""

    def __init__(self, tab: Tab, size: tuple[int, int]) -> None:
        self.tab, self.size = tab, size

    def __call__(self, *points: tuple[float, float]) -> None:
        left, top, width, height = self.tab.js(PLACE)
        scale = min((width - 24) / self.size[0], (height - 24) / self.size[1], 64)
        corner = left + (width - self.size[0] * scale) / 2, top + (height - self.size[1] * scale) / 2
        self.tab.drag(
            *((corner[0] + x * self.size[0] * scale, corner[1] + y * self.size[1] * scale) for x, y in points)
        )


def strokes(photos: Path, name: str) -> list[dict]:
    path = photos.parent / f"labels/strokes/{name}.json"
    return json.loads(path.read_text())[name] if path.exists() else []


def test_draw_undo_kill_resume_and_train(serve, tab, photos, monkeypatch):
    server = serve()
    tab.open(server.url)
    tab.until(READY)
    hand = Hand(tab, (60, 40))
    hand((0.1, 0.25), (0.4, 0.25), (0.9, 0.25))
    tab.until(f"{SAVED} && document.querySelector('#list .caption span:last-child').textContent")
    tab.key("2")
    tab.key("p")
    hand((0.5, 0.75))
    tab.key("r")
    hand((0.2, 0.7), (0.3, 0.8), (0.4, 0.9))
    tab.until(SAVED)
    line, dot, box = strokes(photos, "a")
    assert (line["cls"], line["width"], dot["cls"], dot["width"]) == (0, 5, 1, 5)
    assert box == {"x": [11.5, 23.5, 23.5, 11.5], "y": [27.5, 27.5, 35.5, 35.5], "cls": 1, "filled": True}
    assert dot["x"] == pytest.approx(29.5, abs=0.6) and dot["y"] == pytest.approx(29.5, abs=0.6)
    tab.key("z", 2)
    tab.until(f"{SAVED} && !document.getElementById('redo').disabled")
    assert strokes(photos, "a") == [line, dot]

    server.kill()
    tab.key("b")
    hand((0.1, 0.9), (0.5, 0.95), (0.9, 0.9))  # nobody answers
    tab.until("document.getElementById('status').textContent.startsWith('no answer')")
    assert serve().url == server.url
    tab.until(SAVED)
    assert strokes(photos, "a")[:2] == [line, dot] and len(strokes(photos, "a")) == 3

    tab.key("ArrowRight")
    tab.until(f"document.getElementById('name').textContent === 'b' && {READY}")
    hand = Hand(tab, (30, 30))
    hand((0.1, 0.2), (0.9, 0.2))
    tab.until(SAVED)
    tab.key("e")
    hand((0.5, 0.1), (0.5, 0.3))
    tab.until(SAVED)
    assert [one["cls"] for one in strokes(photos, "b")] == [1, 255]
    label = read_label(photos.parent / "labels/b.png")
    assert label[6, 5] == 1 and label[6, 15] == 255
    refused = [text for text in tab.complaints if "ERR_CONNECTION_REFUSED" not in text]
    assert refused == [], "no errors but those of the killed server"

    monkeypatch.chdir(photos.parent)
    (photos.parent / "solver.prototxt").write_text(SOLVER)
    drawn = 'source: "labels/list.txt" label_type: STROKES annotation: "labels/strokes"'
    for kind in ('source: "labels/list.txt" label_type: PIXEL', drawn):
        (photos.parent / "net.prototxt").write_text(NET.replace("SOURCE", kind))
        train_command.main(
            ["--prototxt", "solver.prototxt", "--out", f"run{len(kind)}"], standalone_mode=False
        )


def test_two_windows_merge(serve, tab, photos, tmp_path):
    url = serve().url
    other = Tab(tmp_path / "other")
    try:
        for each in (tab, other):
            each.open(f"{url}#b")
            each.until(READY)
        other.js("Object.defineProperty(document, 'hidden', {value: true})")  # it does not look again
        Hand(tab, (30, 30))((0.2, 0.2), (0.8, 0.2))
        tab.until(SAVED)
        Hand(other, (30, 30))((0.2, 0.8), (0.8, 0.8))
        other.until("document.getElementById('message').textContent.includes('both have been kept')")
        other.until(SAVED)
        assert [round(one["y"][0] / 30, 1) for one in strokes(photos, "b")] == [0.2, 0.8]
    finally:
        other.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_the_page_fits(serve, tab, width, theme, tmp_path):
    tab.theme(theme)
    tab.resize(width, 900, touch=width < 400)
    tab.open(serve().url)
    tab.until(READY)
    assert tab.js("document.documentElement.scrollWidth") <= width
    assert tab.js("document.getElementById('canvas').clientHeight") > 300
    light = tab.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (theme == "light") and tab.complaints == []
    origin = tab.js("location.origin")
    assert all(address.startswith((origin, "data:")) for address in tab.requests)


def test_one_finger_draws_and_two_zoom(serve, tab, photos):
    tab.resize(390, 844, touch=True)
    tab.open(f"{serve().url}#b")
    tab.until(READY)
    left, top, width, height = tab.js(PLACE)
    x, y = left + width / 2, top + height / 2
    tab.touch([(x - 50, y), (x, y), (x + 50, y)])
    tab.until(SAVED)
    tab.touch([(x - 40, y), (x - 60, y), (x - 80, y)], [(x + 40, y), (x + 60, y), (x + 80, y)])
    tab.touch([(x - 50, y), (x, y), (x + 50, y)])
    tab.until(f"{SAVED} && !document.getElementById('undo').disabled")
    first, second = strokes(photos, "b")
    spans = [max(one["x"]) - min(one["x"]) for one in (first, second)]
    assert spans[0] / spans[1] == pytest.approx(2, rel=0.05), "zoomed by two, and nothing was drawn meanwhile"


def test_a_thousand_photos(serve, tab, photos):
    """Thumbnails come when they are scrolled to."""
    for index in range(1000):
        (photos / f"n{index:04}.png").hardlink_to(photos / "b.png")
    tab.open(serve().url)
    tab.until(READY)
    assert tab.js("document.querySelectorAll('#list li').length") == 1003
    seen = [address for address in tab.requests if "/thumbnail/" in address]
    assert 0 < len(seen) < 200
    tab.js(SEARCH)
    tab.until("document.querySelectorAll('#list li').length === 1")
    assert tab.js("document.querySelector('#list button').title") == "n0999"
