"""Every page that rlossctl makes, in a real browser: at three widths, light and dark, and under axe-core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import BROWSER, Tab
from PIL import Image

import rlossctl
from rlossctl.cli import main
from rlossctl.data.palette import save_label_png
from rlossctl.net.saved import layer_records
from rlossctl.solver.snapshots.manifest import Manifest, Settings
from rlossctl.weights import write_caffemodel

AXE = os.environ.get("AXE_CORE")
SHOTS = os.environ.get("RLOSSCTL_SCREENSHOTS")
PAGES = ("report", "runs", "annotate", "net", "diff")
WIDTHS = (390, 1280, 2560)
THEMES = ("light", "dark")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt install chromium)"),
    pytest.mark.slow,
]

HEAD = 'name: "net & <net>" input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 48 }\n'
LAYER = (
    'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" convolution_param {{ {2} '
    'weight_filler {{ type: "xavier" }} }} }}\n'
)
RELU = 'layer {{ name: "{0}_relu" type: "ReLU" bottom: "{0}" top: "{0}" }}\n'
SUM = 'layer {{ name: "{0}" type: "Eltwise" bottom: "{1}" bottom: "{2}" top: "{0}" }}\n'


def net_text(blocks: int, last: str = "num_output: 3 kernel_size: 1") -> str:
    """Residual blocks of three boxes each, then scores."""
    text, x, same = HEAD, "data", "num_output: 3 kernel_size: 3 pad: 1"
    for number in range(blocks):
        a, b, s = f"a{number}", f"b{number}", f"s{number}"
        text += LAYER.format(a, x, same) + RELU.format(a) + LAYER.format(b, a, same) + SUM.format(s, x, b)
        x = s
    return text + LAYER.format("score", x, last)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[..., int]:
    """run("inspect", ...): the exit status of a command in this process."""

    def call(*arguments: object) -> int:
        before, sys.argv = sys.argv, ["rlossctl", *map(str, arguments)]
        try:
            main()
        except SystemExit as error:
            return int(error.code or 0)
        finally:
            sys.argv = before
        return 0

    return call


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> Path:
    """net.prototxt, its weights, and other.prototxt, which has one block more and other scores."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "net.prototxt").write_text(net_text(15))
    (folder / "other.prototxt").write_text(net_text(16, "num_output: 3 kernel_size: 3 pad: 1"))
    net = rlossctl.load_net(folder / "net.prototxt")
    write_caffemodel(folder / "net.caffemodel", net.name, layer_records(net))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three photos with labels, and their list."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(1)
    (folder / "photos").mkdir()
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(
            folder / f"photos/{index}.png"
        )
        save_label_png(folder / f"{index}.png", rng.integers(0, 3, (32, 48), dtype=np.uint8))
    (folder / "list.txt").write_text("".join(f"photos/{index}.png {index}.png\n" for index in range(3)))
    (folder / "names.txt").write_text("sky\ngrass\na road that is rather long\n")
    return folder


@pytest.fixture(scope="module")
def report(run, nets, data, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("report")
    weights = nets / "net.caffemodel"
    named = ("--classes", data / "names.txt", "--names", "first,a second", "--mean", "100,100,100")
    assert run("eval", nets / "net.prototxt", weights, weights, "--data", data / "list.txt", "--root", data,
               *named, "--report", out) == 0  # fmt: skip
    return (out / "index.html").as_uri()


@pytest.fixture(scope="module")
def runs(run, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    for name in "ab":
        (folder / name).mkdir()
        settings = Settings(
            f"base_lr: 0.{ord(name)}\n", {"training": "a" * 64}, {"list.txt": "b" * 64}, {}, 3
        )
        command = f"rlossctl train --prototxt solver.prototxt --out {folder / name}"
        known = Manifest("id", "2026-11-29", command, "s", settings, {}, {"rlossctl": "0.1.0"})
        known.write(folder / name / "run.json")
        steps = [{"kind": "train", "iter": n, "loss": 1 / (1 + n), "lr": 0.1, "terms": {}} for n in range(9)]
        test = {"kind": "test", "iter": 8, "net": 0, "outputs": {"mIoU": [0.5]}, "counted": ["mIoU"]}
        (folder / name / "metrics.jsonl").write_text(
            "".join(json.dumps(one) + "\n" for one in [*steps, test])
        )
    assert run("runs", folder / "a", folder / "b", "--report", folder / "runs.html") == 0
    return (folder / "runs.html").as_uri()


@pytest.fixture(scope="module")
def annotate(data, tmp_path_factory) -> Iterator[str]:
    labels = tmp_path_factory.mktemp("labels")
    arguments = ["annotate", data / "photos", "-o", labels, "--classes", data / "names.txt"]
    server = subprocess.Popen(
        [sys.executable, "-m", "rlossctl", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout
    yield next(line for line in server.stdout if line.startswith("open ")).split()[1]
    server.kill()
    server.communicate()


@pytest.fixture(scope="module")
def net(run, nets) -> str:
    weights = ("--weights", nets / "net.caffemodel")
    assert run("inspect", nets / "net.prototxt", "--draw", nets / "net.html", *weights) == 0
    return (nets / "net.html").as_uri()


@pytest.fixture(scope="module")
def diff(run, nets) -> str:
    assert run("diff", nets / "net.prototxt", nets / "other.prototxt", "--draw", nets / "diff.html") == 1
    return (nets / "diff.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Tab]:
    opened = Tab(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def tab(browser) -> Iterator[Tab]:
    """A window of the usual size that complains of nothing."""
    browser.resize(1280, 900)
    browser.theme("light")
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []


def visit(tab: Tab, url: str) -> None:
    tab.open("about:blank")
    tab.until("location.href === 'about:blank'")
    tab.open(url)
    tab.until(f"document.readyState === 'complete' && location.href.startsWith({url.split('?')[0]!r})")


@pytest.mark.parametrize("page", PAGES)
def test_it_fits_every_window(tab, page, request):
    visit(tab, request.getfixturevalue(page))
    for width in WIDTHS:
        tab.resize(width, 1000)
        for theme in THEMES:
            tab.theme(theme)
            assert tab.js("document.documentElement.scrollWidth") <= width, (width, theme)
            if SHOTS:
                Path(SHOTS).mkdir(exist_ok=True)
                tab.screenshot(Path(SHOTS) / f"{page}_{width}_{theme}.png")


@pytest.mark.skipif(AXE is None, reason="needs axe-core (npm pack axe-core; AXE_CORE=package/axe.min.js)")
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_serious(tab, page, request):
    visit(tab, request.getfixturevalue(page))
    opened = {
        "net": "goTo('a3')",
        "diff": "goTo('score')",
        "report": "document.querySelector('.picture').click()",
    }
    tab.js(Path(AXE or "").read_text() + "; 0")
    for theme, act in (("light", "0"), ("dark", opened.get(page, "0"))):
        tab.theme(theme)
        tab.js(act)
        found = tab.js(
            "axe.run().then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))}`))"
        )
        assert found == [], theme


def centre_of(tab: Tab, selector: str) -> tuple[float, float]:
    found = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
    x, y, width, height = tab.js(f"(r => [r.x, r.y, r.width, r.height])({found})")
    return x + width / 2, y + height / 2


SEEN = "[...document.querySelectorAll('.stage')[{0}].querySelectorAll('.box:not([visibility])')].length"
ASIDE = "document.getElementById('details')"


def test_a_layer_is_found_opened_and_told_about(tab, net):
    visit(tab, net)
    assert tab.js(SEEN.format(0)) == 3  # the input, a block, the scores
    tab.key("/")
    tab.js("document.execCommand('insertText', false, 'B7')")
    assert tab.js("document.getElementById('found').textContent") == "1 of 61 layers"
    tab.key("Enter")
    assert tab.js(SEEN.format(0)) == 47
    assert tab.js(f"{ASIDE}.querySelector('h3').textContent") == "b7"
    text = tab.js(f"{ASIDE}.textContent")
    for known in (
        "a7 (1 x 3 x 32 x 48)",
        "multiply-adds124,416",
        "parameters84",
        'name: "b7"',
        "3 x 3 x 3 x 3",
    ):
        assert known in text
    assert tab.js(f"{ASIDE}.querySelectorAll('.bars-of svg').length") == 2
    x, y = centre_of(tab, ".chosen rect")
    left, top = centre_of(tab, ".stage")
    assert abs(x - left) < 3 and abs(y - top) < 3
    tab.drag((x, y - 60), (x + 100, y - 30), (x + 200, y))
    assert centre_of(tab, ".chosen rect") == pytest.approx((x + 200, y + 60), abs=1)
    tab.key("Escape")
    assert tab.js(f"{ASIDE}.hidden")


def test_the_keyboard_reaches_everything(tab, net):
    visit(tab, net)
    tab.js("document.querySelector('.stage [tabindex=\"0\"]').focus()")
    tab.key("ArrowDown")
    tab.key("Enter")  # opens the block
    assert tab.js(SEEN.format(0)) == 47
    tab.key("Enter")
    assert tab.js(f"{ASIDE}.querySelector('h2').textContent") == "a0 and 1 in place"
    tab.js("document.querySelector('.frame[tabindex=\"0\"]').focus()")
    tab.key("Enter")
    assert tab.js(SEEN.format(0)) == 3


def test_two_fingers_zoom(tab, net):
    tab.resize(390, 900, touch=True)
    visit(tab, net)
    scale = "Number(/scale\\((.*)\\)/.exec(document.querySelector('.view').getAttribute('transform'))[1])"
    before = tab.js(scale)
    x, y = centre_of(tab, ".stage")
    tab.touch([(x - 20, y), (x - 40, y), (x - 60, y)], [(x + 20, y), (x + 40, y), (x + 60, y)])
    assert tab.js(scale) == pytest.approx(3 * before, rel=0.05)
    tab.resize(1280, 900)


def test_what_differs_is_marked_on_both_sides(tab, diff):
    visit(tab, diff)
    tab.js("document.getElementById('open').click()")
    marked = (
        "[...document.querySelectorAll('.stage')[{0}].querySelectorAll('[data-box]{1}')]"
        ".map(box => box.getAttribute('aria-label').split(' ')[0])"
    )
    assert tab.js(marked.format(0, ".minus")) == []
    assert tab.js(marked.format(1, ".plus")) == ["a15", "b15", "s15"]
    assert tab.js(marked.format(0, ".both")) == tab.js(marked.format(1, ".both")) == ["score"]
    tab.js("[...document.querySelectorAll('.changes button')].at(-1).click()")
    assert tab.js("document.querySelectorAll('.chosen').length") in (1, 2)
    tab.js("document.getElementById('search').value = 'score'")
    tab.js("goTo('score')")
    assert "bottom s14 -> s15" in tab.js(f"{ASIDE}.textContent")
    assert tab.js("document.querySelectorAll('.chosen').length") == 2
