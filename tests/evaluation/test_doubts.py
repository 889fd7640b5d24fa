"""What `eval` says of scores that look fine and are not: labels, rotated photos, photos left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli import cli
from rlossctl.errors import DataError


def evaluate(*arguments: object, fails: bool = False) -> str:
    result = CliRunner().invoke(cli, ["eval", *map(str, arguments)])
    assert (result.exception is not None) == fails, result.output
    return result.output if not fails else str(result.exception)


def relabel(root, change) -> None:
    """Replaces every label image by `change` of it."""
    for file in (root / "SegmentationClassAug").iterdir():
        Image.fromarray(change(np.array(Image.open(file)))).save(file)


def files(tiny_model, voc_folder, tmp_path) -> list[object]:
    out = tmp_path / "result.json"
    return [tiny_model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--json", out]


@pytest.fixture
def scored(tiny_model, voc_folder, tmp_path):
    """scored(*options) runs the model on the set, and gives what it prints and its JSON."""

    def run(*options: object) -> tuple[str, dict]:
        text = evaluate(*files(tiny_model, voc_folder, tmp_path), *options)
        return text, json.loads((tmp_path / "result.json").read_text())

    return run


def test_labels_of_0_and_255_are_no_success(scored, voc_folder):
    relabel(voc_folder, lambda ids: np.where(ids == 0, 0, 255).astype(np.uint8))
    text, content = scored()
    above, _ = text.split("\nclass ")
    assert "warning  one class only: the ids are 0 and 255" in above
    assert "if this is a mask of 0 and 255, write class 1 as 1" in above
    assert "warning  classes that no label has: 1 (green), 2 (red)" in above
    assert [entry["kind"] for entry in content["warnings"]] == ["one class only", "classes that no label has"]


def test_a_class_that_no_label_has_is_named(scored, voc_folder):
    relabel(voc_folder, lambda ids: np.where(ids == 1, 2, ids).astype(np.uint8))
    _, content = scored()
    assert content["warnings"] == [{"kind": "classes that no label has", "found": "1 (green)"}]
    assert scored("--classes-of-interest", "0,2")[1]["warnings"] == []


def test_a_model_that_predicts_one_class_only(make_model, voc_folder, tmp_path):
    model = make_model(tmp_path / "flat.onnx", np.zeros((3, 3)), None)
    text = evaluate(model, "--data", voc_folder / "pairs.txt", "--root", voc_folder, "--mean", "0,0,0")
    assert "warning  one class predicted: every pixel gets class 2 (class 2)" in text


def test_labels_of_all_classes_raise_no_doubt(scored):
    text, content = scored()
    assert "warning" not in text and content["warnings"] == [] and content["stopped"] is None


def turn(file, orientation: int) -> None:
    """Stores a photo so that EXIF `orientation` shows it as it was."""
    stored = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    with Image.open(file) as photo:
        turned = photo.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(file, exif=exif)


@pytest.mark.slow
def test_rotated_photos_are_named_and_turned_if_asked(scored, voc_folder):
    _, plain = scored()
    file = voc_folder / "JPEGImages" / "2007_000001.png"
    turn(file, 3)
    text, content = scored()
    assert "warning  EXIF rotation that is not applied: 1 photo, the first is" in text
    assert str(file) in text and content["miou"] != plain["miou"]
    for decoders in ("threads", "processes"):
        text, content = scored("--upright", "--decoders", decoders)
        assert "photos turned upright, as EXIF says" in text
        assert content["warnings"] == [] and content["confusion"] == plain["confusion"]


def test_a_photo_on_its_side_does_not_fit_its_label_unless_turned(scored, tiny_model, voc_folder, tmp_path):
    _, plain = scored()
    turn(voc_folder / "JPEGImages" / "2007_000000.png", 6)
    error = evaluate(*files(tiny_model, voc_folder, tmp_path), fails=True)
    assert "its EXIF rotation is not applied: try --upright" in error
    assert scored("--upright")[1]["confusion"] == plain["confusion"]


def breaks(voc_folder, number: int) -> None:
    file = voc_folder / "JPEGImages" / f"2007_{number:06d}.png"
    file.write_bytes(file.read_bytes()[:200])


def test_broken_photos_are_left_out_up_to_a_number(scored, tiny_model, voc_folder, tmp_path):
    (voc_folder / "one.txt").write_text((voc_folder / "pairs.txt").read_text().splitlines()[1] + "\n")
    one = evaluate(
        tiny_model, "--data", voc_folder / "one.txt", "--root", voc_folder, "--json", tmp_path / "1"
    )
    alone = json.loads((tmp_path / "1").read_text())
    assert "1 image" in one
    breaks(voc_folder, 0)
    (voc_folder / "SegmentationClassAug" / "2007_000002.png").unlink()
    text, content = scored("--skip-broken", "2", "--report", tmp_path / "report")
    assert "warning  2 images left out; the scores are for 1 image:" in text
    assert [entry["image"].rpartition("/")[2] for entry in content["skipped"]] == [
        "2007_000000.png",
        "2007_000002.png",
    ]
    assert "no such file" in content["skipped"][1]["why"]
    assert content["images"] == 1 and content["confusion"] == alone["confusion"]
    assert "2 images left out" in (tmp_path / "report" / "index.html").read_text()
    error = evaluate(*files(tiny_model, voc_folder, tmp_path), "--skip-broken", "1", fails=True)
    assert "2007_000002.png" in error


def test_models_are_compared_on_the_images_that_could_be_read(tiny_model, make_model, voc_folder, tmp_path):
    breaks(voc_folder, 1)
    other = make_model(tmp_path / "other.onnx", -np.eye(3), None)
    first, *rest = files(tiny_model, voc_folder, tmp_path)
    text = evaluate(first, other, *rest, "--skip-broken", "1", "--mean", "100,110,120")
    content = json.loads((tmp_path / "result.json").read_text())
    assert [entry["images"] for entry in content["models"].values()] == [2, 2]
    assert content["differences"]["other"] is not None and "mIoU minus tiny's" in text


def test_what_was_counted_before_an_error_is_written(tiny_model, voc_folder, tmp_path):
    breaks(voc_folder, 2)
    state = tmp_path / "val.state"
    arguments = [*files(tiny_model, voc_folder, tmp_path), "--state", state]
    result = CliRunner().invoke(cli, ["eval", *map(str, arguments)])
    assert isinstance(result.exception, DataError)
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["images"] == 2 and "2007_000002.png" in content["stopped"]
    with np.load(state) as counted:
        assert counted["done"].tolist() == [1, 1, 0]


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_weights_of_an_onnx_file_that_are_not_finite_are_named(make_model, voc_folder, tmp_path, command):
    weight = np.eye(3)
    weight[1, 2] = np.nan
    model = make_model(tmp_path / "nan.onnx", weight, None)
    rest = {
        "eval": ["--data", voc_folder / "pairs.txt", "--root", voc_folder],
        "predict": [voc_folder / "JPEGImages", "--out", tmp_path / "out"],
    }[command]
    result = CliRunner().invoke(cli, [command, *map(str, [model, *rest]), "--mean", "0,0,0"])
    assert "tensor 'w': 1 of 9 values (NaN first, at [1, 2, 0, 0])" in str(result.exception)
