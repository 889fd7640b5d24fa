"""The report's page in a real browser: no errors, nothing fetched, the filter and the order work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.evaluation import OnnxRunner, evaluate, write_report
from rlossctl.evaluation.running.open_model import open_list

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt install chromium)"),
    pytest.mark.slow,
]
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
# What a person does, with what the page then shows.
VISIT = """<script>
const found = {errors: window.pageErrors, themes: []};
const all = () => [...document.querySelectorAll("article")];
const visible = () => all().filter(article => !article.hidden).map(article => article.dataset.index);
const pick = (id, value) => {
  const element = document.getElementById(id);
  element.value = value;
  element.dispatchEvent(new Event("change"));
};
const back = () => getComputedStyle(document.body).backgroundColor;
found.start = visible();
for (const value of ["best 0", "best 1", "list"]) { pick("order", value); found[value] = visible(); }
pick("class", "2");
found.filtered = visible();
found.shown = document.getElementById("shown").textContent;
pick("class", "");
found.unfiltered = visible();
for (let i = 0; i < 3; i++) { found.themes.push(back()); document.getElementById("theme").click(); }
found.images = [...document.images].map(image => image.complete && image.naturalWidth > 0);
found.focusable = ["theme", "class", "order"].every(id => {
  document.getElementById(id).focus();
  return document.activeElement.id === id;
});
const fetched = performance.getEntriesByType("resource").map(entry => entry.name);
found.requests = fetched.filter(name => !name.startsWith("data:"));
document.body.innerHTML = "<pre id=found></pre>";
document.getElementById("found").textContent = JSON.stringify(found);
</script>"""
WATCH = """<script>
window.pageErrors = [];
addEventListener("error", event => window.pageErrors.push(String(event.message)));
addEventListener("securitypolicyviolation", event => window.pageErrors.push(event.violatedDirective));
</script>"""


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


def browse(arguments: list[str], page: Path, tmp_path: Path) -> subprocess.CompletedProcess:
    """Runs the browser once on a page, with a profile of its own."""
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    environment = {**os.environ, "HOME": str(tmp_path)}
    return subprocess.run(
        [BROWSER, *QUIET, profile, *arguments, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=True,
    )


def test_a_visit(page, tmp_path):
    text = page.read_text()
    visit = page.with_name("visit.html")
    visit.write_text(text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{VISIT}</body>", 1))
    done = browse(["--dump-dom"], visit, tmp_path)
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1])
    assert found["errors"] == [] and "CONSOLE" not in done.stderr
    assert found["requests"] == []
    assert found["images"] and all(found["images"]) and found["focusable"]
    scores = {
        match[0]: match[1].split() for match in re.findall(r'data-index="(\d)" data-scores="(.*?)"', text)
    }
    worst_first = sorted(scores, key=lambda index: float(scores[index][0]))
    assert found["start"] == worst_first
    assert found["best 0"] == worst_first[::-1]
    assert found["best 1"] == sorted(scores, key=lambda index: -float(scores[index][1]))
    assert found["list"] == found["unfiltered"] == ["0", "1", "2"]
    assert found["filtered"] == ["0", "2"] and found["shown"] == "2 of 3 images"
    light, dark, again = found["themes"]
    assert light == again == "rgb(255, 255, 255)" and dark == "rgb(20, 24, 28)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_of_the_page(page, tmp_path, theme):
    themed = page.with_name(f"{theme}.html")
    start = '<html lang="en"'
    themed.write_text(page.read_text().replace(start, f'{start} data-theme="{theme}"', 1))
    picture = tmp_path / f"{theme}.png"
    browse([f"--screenshot={picture}", "--window-size=1200,1600"], themed, tmp_path)
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    back = {"light": (255, 255, 255), "dark": (20, 24, 28)}[theme]
    assert (pixels == back).all(axis=2).mean() > 0.3, "the page's background"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000, "and photos on it"
