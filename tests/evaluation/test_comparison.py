"""Several models on one list: how they are named, compared and written."""

from __future__ import annotations

import csv
import functools
import json

import numpy as np
import pytest
from click.testing import CliRunner

from rlossctl.cli.eval import command
from rlossctl.counts import ClassCounts
from rlossctl.errors import UsageError
from rlossctl.evaluation.running.named import Named, pair_models
from rlossctl.evaluation.scoring.bootstrap import compare
from rlossctl.net.origin import NetOrigin


def counts(seed: int, images: int = 40, classes: int = 4, better: float = 0.0) -> ClassCounts:
    rng = np.random.default_rng(seed)
    hits = rng.integers(50, 100, (images, classes)) + int(50 * better)
    truth, predicted = hits + rng.integers(0, 100, (2, images, classes))
    return ClassCounts(hits, truth, predicted)


def test_differences_are_those_of_the_set_with_their_interval():
    one, two = counts(0, better=1.0), counts(1)
    difference = compare(one, two, samples=500)
    expected = one.sum().iou().mean() - two.sum().iou().mean()
    assert difference.value == pytest.approx(expected, abs=1e-12)
    assert 0 < difference.low < difference.value < difference.high
    assert compare(one, two, samples=500) == difference
    assert compare(one, two, samples=500, seed=1) != difference
    reversed_ = compare(two, one, samples=500)
    assert (reversed_.low, reversed_.high) == pytest.approx((-difference.high, -difference.low))


def test_the_interval_is_that_of_a_plain_loop():
    one, two = counts(0), counts(2)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(2000):
        chosen = rng.integers(0, 40, 40)
        miou = [
            np.mean(part.hits[chosen].sum(0) / (part.truth + part.predicted - part.hits)[chosen].sum(0))
            for part in (one, two)
        ]
        found.append(miou[0] - miou[1])
    difference = compare(one, two)
    width = difference.high - difference.low
    assert np.quantile(found, [0.025, 0.975]) == pytest.approx(
        [difference.low, difference.high], abs=width / 10
    )


def test_a_model_does_not_differ_from_itself():
    difference = compare(counts(0), counts(0))
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_classes_of_interest_and_nothing_to_compare():
    one, two = counts(0), counts(1)
    assert compare(one, two, [2]).value == pytest.approx(one.sum().iou()[2] - two.sum().iou()[2])
    nothing = ClassCounts(*np.zeros((3, 5, 2), int))
    assert compare(nothing, nothing) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a/x.onnx"], [Named("x", NetOrigin("a/x.onnx"))]),
        (["t.prototxt", "w.caffemodel"], [Named("t", NetOrigin("t.prototxt", "w.caffemodel"))]),
        (
            ["t.prototxt", "w.caffemodel", "v.caffemodel.h5"],
            [
                Named("w", NetOrigin("t.prototxt", "w.caffemodel")),
                Named("v.caffemodel", NetOrigin("t.prototxt", "v.caffemodel.h5")),
            ],
        ),
        (
            ["x.onnx", "t.prototxt", "w.caffemodel", "y.onnx"],
            [
                Named("x", NetOrigin("x.onnx")),
                Named("w", NetOrigin("t.prototxt", "w.caffemodel")),
                Named("y", NetOrigin("y.onnx")),
            ],
        ),
        (
            ["a/net.onnx", "b/net.onnx"],
            [Named("a/net", NetOrigin("a/net.onnx")), Named("b/net", NetOrigin("b/net.onnx"))],
        ),
    ],
)
def test_models_are_named_by_their_files(arguments, expected):
    assert pair_models(arguments) == expected


def test_models_are_named_as_the_user_says():
    assert [model.name for model in pair_models(["a.onnx", "b.onnx"], ["pCE", "+ CRF"])] == ["pCE", "+ CRF"]


@pytest.mark.parametrize(
    ("arguments", "names", "message"),
    [
        (["w.caffemodel"], None, "neither"),
        (["a.onnx", "w.caffemodel"], None, "weights inside"),
        (["t.prototxt"], None, "without weights"),
        (["t.prototxt", "a.onnx"], None, "without weights"),
        (["a.onnx", "a.onnx"], None, "the same"),
        (["a.onnx", "b.onnx"], ["one"], "names do not fit"),
        (["a.onnx", "b.onnx"], ["one", "one"], "names do not fit"),
    ],
)
def test_arguments_that_name_no_models(arguments, names, message):
    with pytest.raises(UsageError, match=message):
        pair_models(arguments, names)


@pytest.fixture
def other_model(make_model, tmp_path):
    """Worse: blue and green exchanged."""
    metadata = {"preprocess": {"mean_bgr": [100, 110, 120], "crop": [64, 64]}}
    return make_model(tmp_path / "other.onnx", np.eye(3)[[1, 0, 2]], metadata)


def call(*arguments) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result.output


def test_a_table_of_two_models(tiny_model, other_model, voc_folder, tmp_path):
    """Truth is random here, so the two differ by chance only; the files agree with each other."""
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "markdown")}
    text = call(tiny_model, other_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder,
                "--names", "one|two,three", "--boundary", "0.02", "--report", tmp_path / "report",
                *(part for kind, path in files.items() for part in (f"--{kind}", path)))  # fmt: skip
    assert "95 % interval" in text
    content = json.loads(files["json"].read_text())
    assert list(content["models"]) == ["one|two", "three"]
    first, second = (content["models"][name] for name in content["models"])
    difference = content["differences"]["three"]
    assert difference["value"] == pytest.approx(second["miou"] - first["miou"], abs=1e-12)
    assert difference["low"] <= difference["value"] <= difference["high"]
    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert [(row["model"], row["scope"], row["name"]) for row in rows[:2]] == [
        ("one|two", "set", ""),
        ("one|two", "class", "blue"),
    ]
    assert len(rows) == 2 * (1 + 3)
    assert float(rows[0]["miou"]) == first["miou"]
    assert float(rows[5]["iou"]) == second["classes"][0]["iou"]
    assert float(rows[1]["boundary_iou"]) == first["classes"][0]["boundary_iou"]
    lines = files["markdown"].read_text().splitlines()
    assert lines[0].startswith("| model | mIoU |")
    assert lines[2].startswith(rf"| one\|two | {100 * first['miou']:.2f} |")
    assert f"{100 * difference['value']:+.2f} (" in lines[3]
    assert len({line.replace(r"\|", "").count("|") for line in lines[:4]}) == 1
    assert (tmp_path / "report" / "index.html").exists()


def test_every_model_has_its_own_state(tiny_model, other_model, voc_folder, tmp_path):
    arguments = (tiny_model, other_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder,
                 "--state", tmp_path / "val.state")  # fmt: skip
    first = call(*arguments)
    assert sorted(path.name for path in tmp_path.glob("val*")) == ["val.other.state", "val.tiny.state"]
    assert [line for line in call(*arguments).splitlines() if line.startswith("mIoU")] == [
        line for line in first.splitlines() if line.startswith("mIoU")
    ]


def test_models_of_other_classes_are_refused(tiny_model, make_model, voc_folder, tmp_path):
    metadata = {"preprocess": {"mean_bgr": [0, 0, 0]}}
    four = make_model(tmp_path / "four.onnx", np.ones((4, 3)), metadata)
    with pytest.raises(UsageError, match="cannot be compared"):
        call(tiny_model, four, "--data", voc_folder / "pairs.txt", "--root", voc_folder)


def test_prediction_options_reach_the_result(tiny_model, voc_folder, tmp_path):
    target = tmp_path / "out.json"
    text = call(tiny_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--json", target,
                "--protocol", "tiles", "--tile", "32,32", "--overlap", "0.5", "--flip", "--scales", "0.5,1",
                "--batch", "2", "--rule", "rankiou", "--masks", "--prune", "0.3", "--temperature", "30",
                "--classes-of-interest", "1-2")  # fmt: skip
    content = json.loads(target.read_text())
    assert content["protocol"]["tile"] == [32, 32]
    assert content["protocol"]["scales"] == [0.5, 1.0]
    assert content["rule"]["name"] == "rankiou"
    assert content["classes_of_interest"] == [1, 2]
    assert content["confusion"] is None
    assert content["miou"] == pytest.approx(np.mean([row["iou"] for row in content["classes"][1:]]))
    assert "tiles of 32x32, overlapping by at least 50%; scales 0.5, 1; also mirrored; temperature 30" in text
    assert "rankiou, by moment2, classes up to 0.3 left out, masks may overlap" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rule", "threshold", "--masks", "--metric", "caffe"],
        ["--rule", "threshold", "--masks", "--report", "{tmp}/report"],
        ["--masks"],
        ["--crf-pos", "3,3"],
        ["--classes-of-interest", "3"],
        ["--classes-of-interest", "2-1"],
        ["--protocol", "tiles", "--overlap", "1"],
        ["--scales", "a"],
        ["--scales", "0"],
        ["--boundary", "0"],
        ["--workers", "0"],
    ],
)
def test_options_that_do_not_go_together(tiny_model, voc_folder, tmp_path, arguments):
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    paths = ["--data", str(voc_folder / "pairs.txt"), "--root", str(voc_folder)]
    result = CliRunner().invoke(command, [str(tiny_model), *paths, *arguments])
    assert result.exit_code == 2 or isinstance(result.exception, UsageError), result.output


def test_placeholders_are_the_prototxts():
    """Beside ONNX files alone they stay, so that opening one can name the mistake."""
    values = {"NUM_LABELS": "3"}
    origin = functools.partial(NetOrigin, placeholders=values, dialect="rloss")
    first, second = pair_models(["a.onnx", "t.prototxt", "b.caffemodel"], origin=origin)
    assert first.origin == NetOrigin("a.onnx")
    assert second.origin == NetOrigin("t.prototxt", "b.caffemodel", values, "rloss")
    assert pair_models(["a.onnx"], origin=origin)[0].origin.placeholders == values
