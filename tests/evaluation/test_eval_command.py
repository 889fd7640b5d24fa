"""`rlossctl eval` from its arguments to its files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from rlossctl.cli.eval import command
from rlossctl.errors import RlossError, UsageError


def call(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def succeed(*arguments) -> str:
    result = call(*arguments)
    if result.exception:
        raise result.exception
    return result.output


def test_prints_and_writes_the_results(tiny_model, voc_folder, expected_matrix, tmp_path):
    target = tmp_path / "out.json"
    text = succeed(tiny_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--json", target,
                   "--device", "cpu")  # fmt: skip
    content = json.loads(target.read_text())
    hits = np.diag(expected_matrix)
    iou = hits / (expected_matrix.sum(0) + expected_matrix.sum(1) - hits)
    assert content["miou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert content["pixel_accuracy"] == pytest.approx(hits.sum() / expected_matrix.sum(), abs=1e-12)
    assert [entry["name"] for entry in content["classes"]] == ["blue", "green", "red"]
    assert set(content["classes"][0]) == {"name", "iou", "accuracy", "pixels", "dice", "precision"}
    assert content["confusion"] == expected_matrix.tolist()
    assert content["preprocess"]["mean_bgr"] == [100.0, 110.0, 120.0]
    assert content["images"] == 3
    assert f"mIoU              {100 * iou.mean():.2f}" in text or f"{100 * iou.mean():.2f}" in text
    assert "mean 100, 110, 120 (B, G, R)" in text
    assert "CPUExecutionProvider" in text


def test_metric_caffe_adds_its_three_numbers(tiny_model, voc_folder, tmp_path):
    target = tmp_path / "out.json"
    text = succeed(tiny_model, "--data", voc_folder / "ids.txt", "--root", voc_folder, "--json", target,
                   "--metric", "caffe", "--limit", "2")  # fmt: skip
    content = json.loads(target.read_text())
    assert content["metric"] == "caffe"
    assert content["caffe"] == pytest.approx(
        [content["pixel_accuracy"], content["mean_accuracy"], content["miou"]], abs=1e-12
    )
    assert content["images"] == 2
    assert "SegAccuracy" in text


def test_overrides_reach_the_images(tiny_model, voc_folder, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("eins\nzwei\ndrei\n")
    text = succeed(tiny_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--mean", "1,2,3",
                   "--scale", "0.5", "--rgb", "--crop", "70,80", "--classes", names)  # fmt: skip
    assert "mean 1, 2, 3 (B, G, R), scale 0.5, RGB order, padded to 70x80" in text
    assert "zwei" in text


def test_report_option_writes_the_page(tiny_model, voc_folder, tmp_path):
    text = succeed(tiny_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--pictures", "1",
                   "--report", tmp_path / "report")  # fmt: skip
    assert str(tmp_path / "report" / "index.html") in text
    assert len(list((tmp_path / "report" / "images").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}"], "no list of images"),
        (["{model}", "weights.caffemodel"], "an ONNX file has its weights inside"),
        (["net.prototxt"], "without weights"),
    ],
)
def test_arguments_that_do_not_go_together(tiny_model, arguments, message):
    error = call(*[argument.format(model=tiny_model) for argument in arguments]).exception
    assert isinstance(error, UsageError)
    assert message in str(error)
    assert error.exit_code == 2


@pytest.mark.parametrize("arguments", [["--mean", "1,2"], ["--crop", "a,b"], ["--set", "NAME"]])
def test_malformed_options_are_usage_errors(tiny_model, arguments):
    assert call(tiny_model, *arguments).exit_code == 2


def test_importing_the_command_loads_no_torch():
    import subprocess
    import sys

    check = "import sys, rlossctl.cli.eval; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_evaluating_onnx_loads_no_torch(tiny_model, voc_folder):
    import subprocess
    import sys

    check = (
        "import sys\nfrom rlossctl.cli.eval import command\n"
        f"command(['{tiny_model}', '--data', '{voc_folder}/pairs.txt', '--root', '{voc_folder}'],"
        " standalone_mode=False)\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["--json", "--csv", "--markdown", "--report"])
def test_what_cannot_be_written_is_told_before_the_models_run(tiny_model, voc_folder, tmp_path, option):
    (tmp_path / "taken").write_text("a file, where a folder should be")
    target = tmp_path / "taken/out" if option == "--report" else tmp_path / "missing/out"
    arguments = (tiny_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--device", "cpu")
    result = call(*arguments, option, target)
    assert isinstance(result.exception, RlossError)
    assert "cannot be written" in str(result.exception) and not result.output
    result = call(*arguments, "--json", tmp_path)
    assert "Is a directory" in str(result.exception) and not result.output
