"""`rlossctl data verify` finds each kind of fault, and `stats` counts what is there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.data import command
from rlossctl.data.palette import save_label_png
from rlossctl.errors import DataError
from rlossctl.prototxt import parse_net


@pytest.fixture
def dataset(tmp_path):
    """Four photos with one-channel labels; train.txt has three of them, val.txt the fourth."""
    rng = np.random.default_rng(3)
    for name in "abcd":
        photo = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
        label = np.full((20, 24), 255, np.uint8)
        label[:10] = 0
        label[10:12] = ord(name) - ord("a")
        save_label_png(tmp_path / f"{name}_l.png", label, palette=False)
    (tmp_path / "train.txt").write_text("a.png a_l.png\nb.png b_l.png\nc.png c_l.png\n")
    (tmp_path / "val.txt").write_text("d.png d_l.png\n")
    return tmp_path


@pytest.fixture
def verify(dataset):
    """verify(*arguments): (exit code, text, findings by kind)."""

    def call(*arguments):
        words = [
            dataset / "train.txt",
            dataset / "val.txt",
            "--root",
            dataset,
            "--json",
            dataset / "out.json",
        ]
        result = CliRunner().invoke(command, ["verify", *map(str, [*words, *arguments])])
        found = json.loads((dataset / "out.json").read_text())
        assert found["clean"] == (result.exit_code == 0), result.output
        kinds = {}
        for finding in found["findings"]:
            kinds.setdefault(finding["kind"], []).append(finding)
        return result.exit_code, result.output, kinds

    return call


def test_a_good_set(verify, dataset):
    code, text, kinds = verify("--num-classes", 4, "--sheet", dataset / "sheet.png")
    assert (code, kinds) == (0, {})
    assert "3 pairs, 3 without a fault; labels: 3 one channel; labelled 60.00%" in text
    assert text.rstrip().endswith("sheet.png") and "no fault found" in text
    with Image.open(dataset / "sheet.png") as sheet:
        assert sheet.width > 4 * 280, "two pairs in a row"
        assert len(sheet.getcolors(2**24)) > 100


def test_every_kind_of_fault_is_found_in_one_pass(verify, dataset):
    (dataset / "a.png").unlink()
    content = (dataset / "b.png").read_bytes()
    (dataset / "b.png").write_bytes(content[: len(content) // 2])
    Image.fromarray(np.zeros((21, 24), np.uint8)).save(dataset / "c_l.png")
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(dataset / "d_l.png")
    code, text, kinds = verify()
    assert code == 1
    unreadable = [finding["where"] for finding in kinds["the image cannot be read"]]
    assert unreadable == [f"{dataset}/train.txt:1", f"{dataset}/train.txt:2"]
    assert kinds["image and label differ in size"][0]["found"].startswith("image 24x20, label 24x21")
    assert kinds["this is not a label image"][0]["where"] == f"{dataset}/val.txt:1"
    assert "4 faults" in text and "FAULT: image and label differ in size (1)" in text


def test_ids_and_empty_labels(verify, dataset):
    save_label_png(dataset / "a_l.png", np.full((20, 24), 255, np.uint8), palette=False)
    code, _, kinds = verify("--num-classes", 3)
    assert code == 1 and set(kinds) == {"label ids out of range", "nothing is labelled"}
    assert kinds["label ids out of range"][0]["where"].endswith("val.txt:1")
    code, _, kinds = verify("--num-classes", 3, "--ignore", 3)
    assert {finding["where"] for finding in kinds["label ids out of range"]} >= {f"{dataset}/train.txt:2"}


def test_the_same_content_in_two_lists(verify, dataset):
    shutil.copy(dataset / "b.png", dataset / "d.png")
    code, _, kinds = verify()
    assert code == 1
    (finding,) = kinds["the same photo in two lists"]
    assert finding["where"] == f"{dataset}/val.txt:1" and "b.png" in finding["found"]


def test_a_palette_with_holes_is_read_by_its_indices(verify, dataset):
    label = Image.fromarray(np.full((20, 24), 9, np.uint8))
    label.putpalette([0, 0, 0] * 5)  # the file has no colour for id 9
    label.save(dataset / "a_l.png")
    assert verify("--num-classes", 10)[0] == 0
    code, _, kinds = verify("--num-classes", 9)
    assert code == 1 and "9 (480 of 480 pixels)" in kinds["label ids out of range"][0]["found"]


def test_what_is_only_noted(verify, dataset):
    shutil.copy(dataset / "a.png", dataset / "c.png")
    save_label_png(dataset / "b_l.png", np.zeros((20, 24), np.uint8))
    turned = Image.open(dataset / "d.png").getexif()
    turned[0x0112] = 6
    with Image.open(dataset / "d.png") as photo:
        photo.load()
        photo.save(dataset / "d.png", exif=turned)
    code, text, kinds = verify()
    assert code == 0 and "no fault found" in text
    assert set(kinds) == {
        "the same photo twice in one list",
        "labels with a palette",
        "labels stored in different ways",
        "photo with a rotation",
    }


def test_a_sheet_of_nothing(dataset):
    for name in "abcd":
        (dataset / f"{name}.png").write_bytes(b"")
    words = ["verify", str(dataset / "val.txt"), "--root", str(dataset), "--sheet", str(dataset / "s.png")]
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, DataError) and not (dataset / "s.png").exists()


def test_stats_are_those_of_a_count_by_hand(dataset):
    words = ["stats", str(dataset / "train.txt"), "--root", str(dataset), "--json", str(dataset / "s.json")]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    found = json.loads((dataset / "s.json").read_text())
    pixels = [3 * 240 + 48, 48, 48]
    assert [entry["pixels"] for entry in found["classes"]] == pixels
    assert [entry["images"] for entry in found["classes"]] == [3, 1, 1]
    assert found["labelled"] == {"mean": 0.6, "min": 0.6, "max": 0.6, "images_without": 0}
    assert found["sizes"] == [{"height": 20, "width": 24, "images": 3}]
    frequencies = np.array(pixels) / np.array([3 * 288, 288, 288])
    weights = [entry["median_frequency_weight"] for entry in found["classes"]]
    np.testing.assert_allclose(weights, np.median(frequencies) / frequencies)
    stack = np.concatenate([np.asarray(Image.open(dataset / f"{n}.png")).reshape(-1, 3) for n in "abc"])
    np.testing.assert_allclose(found["mean_bgr"], stack.mean(axis=0)[::-1], rtol=1e-12)
    np.testing.assert_allclose(found["std_bgr"], stack.std(axis=0)[::-1], rtol=1e-9)
    assert "images    3" in result.output and "24x20 (3)" in result.output


def test_stats_refuse_what_does_not_fit(dataset):
    (dataset / "names.txt").write_text("zero\none\n")
    words = ["stats", str(dataset / "train.txt"), "--root", str(dataset)]
    result = CliRunner().invoke(command, [*words, "--classes", str(dataset / "names.txt")])
    assert "id 2 in 1 images" in str(result.exception)
    Image.fromarray(np.zeros((21, 24), np.uint8)).save(dataset / "c_l.png")
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, DataError) and "train.txt:3" in str(result.exception)


@pytest.fixture
def masks(dataset):
    """The same photos with masks of 0 and 255, as binary tools export them."""
    for name in "abcd":
        label = np.zeros((20, 24), np.uint8)
        label[5:15, 5:15] = 255
        save_label_png(dataset / f"{name}_l.png", label, palette=False)
    return dataset


def test_masks_of_0_and_255_are_a_fault(verify, masks):
    code, _, kinds = verify("--num-classes", 2)
    assert code == 1 and kinds["one class only"][0]["fatal"]
    assert "a mask of 0 and 255" in kinds["one class only"][0]["found"]
    assert [entry["found"] for entry in kinds["classes that no label has"]] == ["1 (class 1)"]
    assert verify()[0] == 1, "without the number of classes, too"


def test_a_class_that_is_nowhere_is_noted_over_all_lists(verify, dataset):
    code, _, kinds = verify("--num-classes", 5)
    assert code == 0 and [entry["found"] for entry in kinds["classes that no label has"]] == ["4 (class 4)"]


def test_stats_warn_above_the_table(masks):
    result = CliRunner().invoke(command, ["stats", str(masks / "train.txt"), "--root", str(masks)])
    assert result.exit_code == 0 and result.output.startswith(
        "WARNING: one class only: the ids are 0 and 255"
    )


def test_stats_print_the_whole_loss_param(dataset):
    """`class_weighting` alone does nothing: the layer wants to be told that it is there."""
    result = CliRunner().invoke(command, ["stats", str(dataset / "train.txt"), "--root", str(dataset)])
    loss_param = result.output.rstrip().splitlines()[-1]
    layer = f'layer {{ name: "l" type: "SoftmaxWithLoss" bottom: "s" bottom: "y" {loss_param} }}'
    message = parse_net(layer, "net.prototxt").param.layer[0]
    assert message.loss_param.weight_by_label_freqs and len(message.loss_param.class_weighting) == 3


def test_stats_print_logarithmic_weights_with_the_programs_mean(dataset):
    words = ["stats", str(dataset / "train.txt"), "--root", str(dataset), "--log-weights", "1.02"]
    loss_param = CliRunner().invoke(command, words).output.rstrip().splitlines()[-1]
    layer = f'layer {{ name: "l" type: "SoftmaxWithLoss" bottom: "s" bottom: "y" {loss_param} }}'
    param = parse_net(layer, "net.prototxt").param.layer[0].loss_param
    shares = np.array([3 * 240 + 48, 48, 48]) / (3 * 240 + 3 * 48)
    np.testing.assert_allclose(param.class_weighting, 1 / np.log(1.02 + shares), atol=1e-4)
    assert param.normalization == param.WEIGHTS
