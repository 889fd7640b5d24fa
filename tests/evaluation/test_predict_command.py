"""`rlossctl predict`: which photos, which files, what is never overwritten, and what a broken photo does."""

from __future__ import annotations

import io
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.images import read_label
from rlossctl.data.palette import voc_palette
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation import OnnxRunner, evaluate
from rlossctl.evaluation.predicting.photos import find_inputs
from rlossctl.evaluation.running.open_model import open_list


def test_labels_are_those_of_eval_in_the_palette(predict, tiny_model, voc_folder, photos, tmp_path):
    code, out, _ = predict(photos, "--out", "out")
    assert code == 0 and "3 images predicted, in out" in out and "CPUExecutionProvider" in out
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    shown = evaluate(OnnxRunner(tiny_model, "cpu"), samples, pictures=9, progress=False).pictures
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"2007_{index:06d}.png" for index in range(3)
    ]
    for index, picture in enumerate(shown):
        path = tmp_path / f"out/2007_{index:06d}.png"
        np.testing.assert_array_equal(read_label(path), picture.prediction)
        with Image.open(path) as image:
            palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            assert image.mode == "P" and np.array_equal(palette, voc_palette()[: len(palette)])


def test_every_kind_of_file(predict, photos, tmp_path):
    code, _, _ = predict(photos / "2007_000001.png", "--out", "out", "--write", "labels,overlay,npz,png16")
    assert code == 0
    folder = tmp_path / "out"
    with Image.open(photos / "2007_000001.png") as image:
        bgr = np.asarray(image)[:, :, ::-1].astype(np.float64)
    scores = bgr - [100, 110, 120]
    expected = np.exp(scores - scores.max(axis=2, keepdims=True))
    expected /= expected.sum(axis=2, keepdims=True)
    with np.load(folder / "2007_000001.npz") as content:
        assert content["classes"].tolist() == ["blue", "green", "red"]
        np.testing.assert_allclose(content["probabilities"], expected.transpose(2, 0, 1), atol=1e-3)
    for index in range(3):
        with Image.open(folder / f"2007_000001_{index}.png") as image:
            assert image.mode.startswith("I;16")
            values = np.asarray(image) / 65535
        np.testing.assert_allclose(values, expected[:, :, index], atol=1e-5)
    with Image.open(folder / "2007_000001_overlay.png") as image:
        assert image.mode == "RGB" and image.size == (48, 33)
    assert read_label(folder / "2007_000001.png").shape == (33, 48)


def test_rules_and_protocols_are_those_of_eval(predict, photos, tmp_path):
    one = photos / "2007_000000.png"
    code, out, _ = predict(one, "--out", "a", "--flip", "--rule", "threshold", "--threshold", 0.9,
                           "--unassigned", "void")  # fmt: skip
    assert code == 0 and "also mirrored" in out and "threshold, at 0.9" in out
    assert 255 in read_label(tmp_path / "a/2007_000000.png")
    code, _, _ = predict(one, "--out", "b", "--rule", "threshold", "--masks", "--write", "npz")
    with np.load(tmp_path / "b/2007_000000.npz") as content:
        assert code == 0 and content["masks"].dtype == bool and content["masks"].shape == (3, 40, 56)
    code, _, error = predict(one, "--out", "c", "--rule", "threshold", "--masks")
    assert code == 2 and "--write npz" in error and not (tmp_path / "c").exists()


def test_a_prototxt_with_its_weights(predict, tmp_path, photos):
    from rlossctl.net import load_net
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    (tmp_path / "net.prototxt").write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 64 }\n'
        'layer { name: "score" type: "Convolution" bottom: "data" top: "score"\n'
        '  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }\n'
    )
    net = load_net(tmp_path / "net.prototxt")
    write_caffemodel(tmp_path / "w.caffemodel", net.name, layer_records(net))
    code, out, error = predict(
        "w.caffemodel", photos, "--out", "out", "--mean", "0,0,0", "--crop", "64,64", model="net.prototxt"
    )
    assert code == 0, error
    assert "PyTorch" in out and len(list((tmp_path / "out").iterdir())) == 3
    code, _, error = predict("w.caffemodel", "--out", "out", model="net.prototxt")
    assert code == 2 and "PROTOTXT WEIGHTS INPUT" in error


def test_broken_photos_are_listed_and_the_others_done(predict, photos, tmp_path):
    content = (photos / "2007_000001.png").read_bytes()
    (photos / "2007_000001.png").write_bytes(content[:200])
    (photos / "2007_000009.jpg").write_bytes(b"")
    code, out, _ = predict(photos, tmp_path / "missing.png", "--out", "out", "--voc-archive", "r.tgz")
    assert code == 1
    assert "2 images predicted" in out and "3 images could not be read:" in out
    for name in ("2007_000001.png: ", "2007_000009.jpg: ", "missing.png: no such file"):
        assert name in out
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert not (tmp_path / "r.tgz").exists() and "was not written" in out
    assert not list(tmp_path.rglob("*.part"))


def test_an_input_is_never_overwritten(predict, photos, tmp_path):
    before = {path: path.read_bytes() for path in photos.iterdir()}
    code, _, error = predict(photos, "--out", photos)
    assert code == 2 and "overwrite its input" in error
    (tmp_path / "link").symlink_to(photos)
    code, _, _ = predict(photos, "--out", "link")
    assert code == 2
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_two_outputs_of_one_name_are_refused(predict, photos):
    (photos / "2007_000000_overlay.png").write_bytes((photos / "2007_000000.png").read_bytes())
    code, _, error = predict(photos, "--out", "out", "--write", "labels,overlay")
    assert code == 2 and "2007_000000_overlay.png: two outputs" in error


def test_the_archive_of_the_voc_server(predict, voc_folder, tmp_path):
    code, out, _ = predict(voc_folder / "ids.txt", "--root", voc_folder, "--voc-archive", "deep/results.tgz")
    assert code == 0 and "in deep/results.tgz" in out
    with tarfile.open(tmp_path / "deep/results.tgz") as archive:
        assert archive.getnames() == [
            f"results/VOC2012/Segmentation/comp6_test_cls/2007_{index:06d}.png" for index in range(3)
        ]
        with Image.open(archive.extractfile(archive.getnames()[1])) as image:
            assert image.mode == "P" and image.size == (48, 33) and np.asarray(image).max() <= 2


def test_names_on_standard_input(predict, photos, tmp_path, monkeypatch):
    spaced = photos / "with a space.png"
    spaced.write_bytes((photos / "2007_000001.png").read_bytes())
    names = io.BytesIO(f"{photos}/2007_000000.png\n\n{spaced}\n".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(names))
    code, out, _ = predict("-", "--out", "out")
    assert code == 0 and "2 images predicted" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "2007_000000.png",
        "with a space.png",
    ]


def test_folders_patterns_and_lists(photos, voc_folder):
    folder = find_inputs([str(voc_folder)])
    assert folder[0].name == "JPEGImages/2007_000000" and len(folder) == 6
    pattern = find_inputs([f"{photos}/2007_00000[02].png", f"{voc_folder}/**/2007_000001.png"][:1])
    assert [entry.name for entry in pattern] == ["2007_000000", "2007_000002"]
    pairs = find_inputs([str(voc_folder / "pairs.txt")], str(voc_folder))
    assert [entry.path for entry in pairs] == [photos / f"2007_{index:06d}.png" for index in range(3)]
    assert find_inputs([str(voc_folder / "ids.txt")], str(voc_folder)) == pairs
    twice = find_inputs([str(photos / "2007_000000.png"), f"{photos}/*.png"])
    assert len(twice) == 3, "each photo once"


def test_what_names_nothing_or_too_much(photos, voc_folder, tmp_path):
    for argument in (f"{photos}/*.gif", str(tmp_path / "empty")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match="no photo found"):
            find_inputs([argument])
    with pytest.raises(DataError, match="standard input: no photo found"):
        find_inputs(["-"])
    with pytest.raises(DataError, match="list cannot be read"):
        find_inputs([str(tmp_path / "none.txt")])
    labels = voc_folder / "SegmentationClassAug/2007_000000.png"
    with pytest.raises(UsageError, match="the same output"):
        find_inputs([str(photos / "2007_000000.png"), str(labels)])


def test_the_command_offers_every_kind():
    from rlossctl.cli.predict import Kinds
    from rlossctl.evaluation.predicting.outputs import KINDS

    assert Kinds._known == KINDS


def test_tiles_give_the_same_files(predict, photos, tmp_path):
    code, _, _ = predict(photos / "2007_000000.png", "-o", "tiles", "--protocol", "tiles", "--tile", "24,24",
                         "--write", "labels,npz")  # fmt: skip
    assert code == 0 and predict(photos / "2007_000000.png", "-o", "whole")[0] == 0
    whole, tiles = (read_label(tmp_path / folder / "2007_000000.png") for folder in ("whole", "tiles"))
    assert np.array_equal(whole, tiles), "the model looks at single pixels"


def test_arguments_that_do_not_go_together(predict, photos):
    assert predict(photos)[0] == 2, "nothing would be written"
    assert predict(photos, "--out", "o", "--write", "labels,pdf")[0] == 2
    code, _, error = predict(photos, "--out", "o", "--protocol", "caffe")
    assert code == 2 and "predicts a crop" in error
    assert predict(photos, "--out", "o", "--rule", "rankdice", "--drop-ignored")[0] == 2
    assert predict("--out", "o")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("decoders", ["threads", "processes"])
def test_photos_are_predicted_upright(predict, photos, tmp_path, decoders):
    predict(photos, "--out", "plain")
    expected = read_label(tmp_path / "plain" / "2007_000000.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photos / "2007_000000.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(photos / "2007_000000.png", exif=exif)
    code, out, _ = predict(photos, "--out", "out", "--decoders", decoders)
    assert code == 0 and "1 photo turned upright, as EXIF says" in out
    np.testing.assert_array_equal(read_label(tmp_path / "out" / "2007_000000.png"), expected)
    _, out, _ = predict(photos, "--out", "raw", "--no-upright", "--decoders", decoders)
    assert "1 photo not turned, although EXIF says so; the first is" in out and "2007_000000.png" in out
    np.testing.assert_array_equal(read_label(tmp_path / "raw" / "2007_000000.png"), np.rot90(expected))
