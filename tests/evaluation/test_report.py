"""The report folder: self-contained, complete, with label PNGs that keep their ids."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.palette import Palette
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError
from rlossctl.evaluation import OnnxRunner, evaluate, write_report
from rlossctl.evaluation.predicting.outputs import Look
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.reporting import page
from rlossctl.evaluation.reporting.pictures import RIGHT, WRONG, error_map
from rlossctl.evaluation.running.open_model import open_list


@pytest.fixture
def evaluations(tiny_model, voc_folder):
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    runner = OnnxRunner(tiny_model, "cpu")
    plain = evaluate(runner, samples, pictures=[0, 2], progress=False)
    shifted = Preprocess((50.0, 110.0, 120.0), crop=(64, 64))
    other = evaluate(runner, samples, preprocess=shifted, pictures=[0, 2], progress=False)
    return {"pCE": plain, "+ DenseCRF": other}


def test_page_is_self_contained_and_names_everything(evaluations, tmp_path):
    page = write_report(tmp_path / "report", evaluations, title="Tiny <test>")
    text = page.read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<(link|iframe)|<script src|@import|url\(", text)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]{11})', text))
    assert text.count("<img ") == 2 * 2 * 3  # images x rows x (photo + models)
    assert "Tiny &lt;test&gt;" in text
    assert "prefers-color-scheme: dark" in text
    for word in ("pCE", "+ DenseCRF", "blue", "green", "red", "CPUExecutionProvider", "2007_000002"):
        assert word in text


def test_a_warning_that_all_models_share_stands_once(evaluations):
    def items() -> list[str]:
        return re.findall("<li>.*?</li>", page._warnings(evaluations), re.DOTALL)

    for evaluation in evaluations.values():
        evaluation.skipped["a.png"] = "broken"
    (item,) = items()
    assert item.startswith("<li>1 image left out") and item.endswith("\na.png: broken</li>")
    evaluations["pCE"].skipped["b.png"] = "broken"
    assert [item.split(": ")[0] for item in items()] == ["<li>pCE", "<li>+ DenseCRF"]


def test_masks_that_overlap_have_a_page_without_matrix_and_images(tiny_model, voc_folder, tmp_path):
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    rule = Rule("threshold", output="masks")
    result = evaluate(OnnxRunner(tiny_model, "cpu"), samples, rule=rule, progress=False)
    text = write_report(tmp_path / "report", {"masks": result}).read_text()
    assert "masks may overlap" in text and "<h2>Confusion" not in text and "<article" not in text
    assert f"{100 * result.miou():.2f}" in text


def test_files_beside_the_page(evaluations, tmp_path):
    folder = write_report(tmp_path / "deep" / "report", evaluations).parent
    results = json.loads((folder / "results.json").read_text())["models"]
    assert results["pCE"]["miou"] == evaluations["pCE"].confusion.miou()
    for picture in evaluations["+ DenseCRF"].pictures:
        stem = picture.name[-len("2007_000000.png") : -4]
        with Image.open(folder / "predictions" / "+_DenseCRF" / f"{stem}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), picture.prediction)
        with Image.open(folder / "images" / f"{stem}.png") as image:
            assert image.width >= 3 * picture.photo.shape[1]
            assert image.height >= 2 * picture.photo.shape[0]
    assert not list(folder.rglob("*.part"))


def test_a_palette_of_ones_own(evaluations, tmp_path):
    palette = Palette({0: (10, 20, 250), 1: (250, 220, 10), 2: (1, 130, 60)})
    folder = write_report(tmp_path / "report", evaluations, look=Look(palette, opacity=1)).parent
    text = (folder / "index.html").read_text()
    assert text.count("rgb(250,220,10)") > 2 and "rgb(128,0,0)" not in text
    picture = evaluations["pCE"].pictures[0]
    stem = picture.name[-len("2007_000000.png") : -4]
    with Image.open(folder / "predictions" / "pCE" / f"{stem}.png") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette.table[picture.prediction])
    with Image.open(folder / "images" / f"{stem}.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    # At full opacity truth and prediction show the classes' colours, and the photo keeps its own.
    assert set(palette.colours.values()) <= colours
    assert any(len(set(colour)) == 3 for colour in colours)


def test_errors_are_marked_where_they_are():
    photo = np.full((1, 3, 3), 128, np.uint8)
    panel = error_map(photo, np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 0]], np.uint8))
    right, wrong, ignored = panel[0].astype(int)
    assert np.abs(wrong - WRONG).sum() < np.abs(wrong - RIGHT).sum()
    assert np.abs(right - RIGHT).sum() < np.abs(right - WRONG).sum()
    assert ignored.min() > 180


def test_models_of_other_classes_do_not_share_a_page(evaluations, tmp_path):
    other = dataclasses.replace(evaluations["+ DenseCRF"], class_names=["a", "b", "c"])
    with pytest.raises(UsageError, match="one page"):
        write_report(tmp_path / "report", {**evaluations, "+ DenseCRF": other})


def test_names_that_would_share_a_folder_are_refused(evaluations, tmp_path):
    one, two = evaluations.values()
    with pytest.raises(UsageError, match="share a folder"):
        write_report(tmp_path / "report", {"a b": one, "a_b": two})


def test_of_figures_that_look_equal_none_is_marked():
    assert "best" not in page._score_cell([0.41622, 0.41618], 0)
    assert "best" in page._score_cell([0.41622, 0.4158], 0)
    assert "best" not in page._score_cell([0.41622, 0.4158, None], 1)
