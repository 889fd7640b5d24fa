"""Clicks (JSON) and scribbles (XML) to label images."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.data import command
from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.sets.voc import CLASSES as VOC_CLASSES
from rlossctl.data.weak.annotations import Annotation, Stroke, read_scribbles
from rlossctl.data.weak.clicks import read_clicks
from rlossctl.data.weak.from_annotations import write_annotations
from rlossctl.data.weak.raster import arc_lengths, resample, samples_within, shorten
from rlossctl.errors import DataError

XML = """<annotation><size><width>{width}</width><height>20</height></size>
<polygon><tag>plane</tag><point><X>2</X><Y>10</Y></point><point><X>22</X><Y>10</Y></point></polygon>
<polygon><tag>background</tag><point><X>12</X><Y>4</Y></point><point><X>12</X><Y>16</Y></point></polygon>
</annotation>"""


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "JPEGImages"
    folder.mkdir()
    for name, suffix in (("a", "jpg"), ("b", "png")):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / f"{name}.{suffix}")
    return folder


def run(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path


def test_clicks_of_several_files_later_over_earlier(photos, tmp_path):
    click = {"x": 10.4, "y": 5.0, "cls": 3, "rank": 1}
    first = write_json(tmp_path / "fg.json", {"a": [click, {"x": 30, "y": 20, "cls": 2}], "b": []})
    second = write_json(tmp_path / "bg.json", {"a": [{"x": 11, "y": 5, "cls": 0}], "absent": [click]})
    result = run("clicks", first, second, "-o", tmp_path / "out", "--images", photos, "--width", 3)
    assert result.exit_code == 0, result.output
    assert "2 labels" in result.output and "1 of them without" in result.output
    assert "1 annotated image without a photo" in result.output
    label = read_label(tmp_path / "out/a.png")
    assert label[5, 9:13].tolist() == [3, 0, 0, 0] and label[4:7, 10].tolist() == [3, 0, 3]
    assert label[19, 29] == 2, "the photo's far corner is its last pixel"
    assert (read_label(tmp_path / "out/b.png") == 255).all()


def test_points_outside_are_listed_or_refused(photos, tmp_path):
    file = write_json(tmp_path / "c.json", {"a": [{"x": 31, "y": 2, "cls": 0}, {"x": 3, "y": 2, "cls": 0}]})
    arguments = ("clicks", file, "-o", tmp_path / "out", "--images", photos)
    result = run(*arguments)
    assert result.exit_code == 0 and "1 point outside the photo: a: x 31, y 2" in result.output
    strict = run(*arguments, "--strict")
    assert isinstance(strict.exception, DataError) and "x 0..30, y 0..20" in str(strict.exception)


@pytest.mark.parametrize(
    "content, words",
    [
        ([], "a list at the top"),
        ({"a": 3}, "image 'a'"),
        ({"a": [[1, 2, 3]]}, "click 0"),
        ({"a": [{"x": 1, "y": 1}]}, "this is not a click"),
        ({"a": [{"x": "1", "y": 1, "cls": 0}]}, "this is not a click"),
        ({"a": [{"x": 1, "y": float("nan"), "cls": 0}]}, "this is not a click"),
        ({"a": [{"x": 1, "y": 1, "cls": 1.5}]}, "this is not a click"),
        ({"a": [{"x": 1, "y": 1, "cls": 0}, {"x": 1, "y": 1, "cls": 21}]}, "click 1.*class does not exist"),
        ({"a": [{"x": 1, "y": 1, "cls": -1}]}, "class does not exist"),
        ({"a": [{"x": [1, 2], "y": [1], "cls": 1}]}, "this is not a click.*lists of the same length"),
        ({"a": [{"x": [], "y": [], "cls": 1}]}, "this is not a click"),
        ({"a": [{"x": [1], "y": [1e99], "cls": 1}]}, "this is not a click"),
        ({"a": [{"x": 1, "y": 1, "cls": 1, "width": 100}]}, "a width of 1 to 99"),
        ({"a": [{"x": [1, 2], "y": [1, 2], "cls": 1, "filled": True}]}, "three points or more"),
    ],
)
def test_bad_clicks_say_where(content, words, tmp_path):
    with pytest.raises(DataError, match=rf"(?s)c\.json.*{words}"):
        read_clicks([write_json(tmp_path / "c.json", content)], 21)


def test_json_that_is_none(tmp_path):
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_clicks([tmp_path / "c.json"])
    with pytest.raises(DataError, match="No such file"):
        read_clicks([tmp_path / "none.json"])


def test_cityscapes_ids_become_training_ids(tmp_path):
    clicks = [{"x": 1, "y": 1, "cls": cls} for cls in (7, 33, 4)]
    (annotation,) = read_clicks([write_json(tmp_path / "c.json", {"a": clicks})], 19, cityscapes=True)
    assert [stroke.label for stroke in annotation.strokes] == [0, 18], "class 4 is not evaluated"


def test_an_id_that_is_a_path_is_refused(photos, tmp_path):
    file = write_json(tmp_path / "c.json", {"../a": [{"x": 1, "y": 1, "cls": 0}]})
    with pytest.raises(DataError, match="not an image id"):
        write_annotations(read_clicks([file]), tmp_path / "out", photos=photos)


def test_scribbles_of_a_folder_and_of_a_zip(photos, tmp_path):
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml/a.xml").write_text(XML.format(width=30))
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("scribble_annotation/a.xml", XML.format(width=30))
        archive.writestr("__MACOSX/scribble_annotation/._a.xml", "junk")
    for source, out in (("xml", "one"), ("s.zip", "two")):
        result = run(
            "scribbles", tmp_path / source, "-o", tmp_path / out, "--images", photos, "--width", 1,
            "--root", tmp_path, "--list", tmp_path / f"{out}.txt",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        label = read_label(tmp_path / out / "a.png")
        expected = np.full((20, 30), 255, np.uint8)
        expected[10, 2:23] = 1
        expected[4:17, 12] = 0
        assert np.array_equal(label, expected), "the second stroke goes over the first"
        (sample,) = read_list(tmp_path / f"{out}.txt", tmp_path)
        assert sample.label.endswith(f"{out}/a.png") and sample.image.endswith("JPEGImages/a.jpg")


def test_without_photos_the_annotation_tells_the_size(tmp_path):
    (tmp_path / "a.xml").write_text(XML.format(width=40))
    write_annotations(read_scribbles(tmp_path / "a.xml", VOC_CLASSES), tmp_path / "out")
    assert read_label(tmp_path / "out/a.png").shape == (20, 40)
    with pytest.raises(DataError, match="size is not known"):
        write_annotations([Annotation("a", [Stroke(0, np.zeros((1, 2)))], None, "x")], tmp_path / "out")


def test_sizes_that_contradict(photos, tmp_path):
    (tmp_path / "a.xml").write_text(XML.format(width=40))
    with pytest.raises(DataError, match="photo 30x20, annotation 40x20"):
        write_annotations(read_scribbles(tmp_path / "a.xml", VOC_CLASSES), tmp_path / "out", photos=photos)


@pytest.mark.parametrize(
    "text, words",
    [
        ("<annotation><size>", "not a scribble annotation"),
        (XML.format(width="wide"), "not a scribble annotation"),
        (XML.format(width=30).replace("plane", "zeppelin"), "<tag>zeppelin</tag>"),
        (XML.format(width=30).replace("<Y>16</Y>", ""), "not a scribble annotation"),
        (XML.format(width=30).replace("<Y>16</Y>", "<Y>inf</Y>"), "not numbers"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + XML.format(width=30), "document type"),
    ],
)
def test_bad_scribbles_say_where(text, words, tmp_path):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=f"(?s)a.xml.*{words}"):
        list(read_scribbles(tmp_path / "a.xml", VOC_CLASSES))


def test_nothing_to_import(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no scribbles found"):
        list(read_scribbles(tmp_path / "empty", VOC_CLASSES))
    (tmp_path / "cut.zip").write_bytes(b"PK\x05\x06" + b"\0" * 3)
    with pytest.raises(DataError, match=r"cut\.zip"):
        list(read_scribbles(tmp_path / "cut.zip", VOC_CLASSES))
    file = write_json(tmp_path / "c.json", {"zz": []})
    with pytest.raises(DataError, match="nothing could be imported"):
        write_annotations(read_clicks([file]), tmp_path / "out", photos=photos)


def test_a_label_never_goes_over_its_photo(photos):
    with pytest.raises(DataError, match="overwrite the photo"):
        write_annotations([Annotation("b", [], None, "x")], photos, photos=photos)


def test_shortening_keeps_the_middle_and_its_vertices():
    bend = np.array([[0.0, 0], [0, 4], [6, 4]])
    half = shorten(bend, 0.5)
    assert half.tolist() == [[0, 2.5], [0, 4], [3.5, 4]]
    assert arc_lengths(half)[-1] == 5
    assert shorten(np.array([[0.0, 0], [0, 8]]), 0.25).tolist() == [[0, 3], [0, 5]], (
        "both cuts in one segment"
    )
    assert shorten(bend, 1.0).tolist() == bend.tolist()
    assert shorten(bend[:1], 0.5)[0].tolist() == [0, 0]


def test_real_clicks(shared, tmp_path):
    """What's the Point's clicks on VOC lie on their classes for nine in ten."""
    voc = shared / "data/voc2012"
    annotations = read_clicks([voc / "voc_whats_the_point.json"], 21)
    summary = write_annotations(annotations[:60], tmp_path, photos=voc / "JPEGImages", width=1)
    right = clicks = 0
    for label in summary.labels:
        drawn, mask = read_label(label.path), read_label(voc / f"SegmentationClassAug/{label.path.name}")
        known = (drawn != 255) & (mask != 255)
        clicks += known.sum()
        right += (drawn == mask)[known].sum()
    assert len(summary.labels) == 60 and right / clicks > 0.9


def scribble(points, size=(100, 80)):
    """ScribbleSup's XML of one line in a picture of (width, height)."""
    dots = "".join(f"<point><X>{x}</X><Y>{y}</Y></point>" for x, y in points)
    head = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{head}<polygon><tag>cat</tag>{dots}</polygon></annotation>"


def drawn(tmp_path, xml, *arguments):
    (tmp_path / "a.xml").write_text(xml)
    return run("scribbles", tmp_path / "a.xml", "-o", tmp_path / "out", *arguments)


@pytest.mark.parametrize("far", [1e3, 1e9])
def test_a_line_to_far_away_is_drawn_to_the_border(tmp_path, far):
    assert drawn(tmp_path, scribble([(20, 40), (far, 40)])).exit_code == 0
    label = read_label(tmp_path / "out/a.png")
    assert (label[40, 20:] == 8).all() and (label[40, :18] == 255).all()
    assert drawn(tmp_path, scribble([(-far, 40), (far, 40)])).exit_code == 0
    assert (read_label(tmp_path / "out/a.png")[40] == 8).all()


def test_near_points_are_those_of_the_whole_line():
    rng = np.random.default_rng(5)
    points = rng.uniform(-60, 160, (40, 2))
    whole = resample(points, 0.5)
    near = np.concatenate(list(samples_within(points, 0.5, (100, 100), 3)))
    inside = ((whole >= -3) & (whole <= 103)).all(axis=1)
    assert 0 < inside.sum() < len(whole)
    kept = {tuple(point) for point in near.tolist()}
    assert {tuple(point) for point in whole[inside].tolist()} <= kept
    assert kept <= {tuple(point) for point in whole.tolist()}


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (scribble([(1, 1), (1e300, 1)]), "a point at 1e"),
        (scribble([(1, 1)], size=(60_000, 60_000)), "3,600,000,000 pixels"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, xml, words):
    error = drawn(tmp_path, xml).exception
    assert isinstance(error, DataError) and words in str(error)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_no_document_type_in_any_encoding(tmp_path, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "c">]>' + scribble([(1, 1)])
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match="a document type"):
        list(read_scribbles(tmp_path / "a.xml", VOC_CLASSES))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '{"version": "5", "shapes": [], "imagePath": "a.jpg"}', "a labelme file"),
        ("a.json", '{"images": [], "annotations": []}', "a COCO file"),
        ("a.xml", '<annotations><image name="a"><polyline/></image></annotations>', "an export of CVAT"),
        ("a.xml", "<annotation><object><name>cat</name></object></annotation>", "LabelImg"),
    ],
)
def test_the_files_of_other_programs_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{words}.*which is not read"):
        list(read_scribbles(tmp_path / name, VOC_CLASSES))
    if name.endswith(".json"):
        with pytest.raises(DataError, match=f"{words}.*which is not read"):
            read_clicks([tmp_path / name])


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_that_was_cut_off_is_not_an_interruption(tmp_path, suffix):
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / f"in/{number}.xml").write_text(scribble([(number, 1), (5, number)]))
    kind = {".zip": "zip", ".tar.gz": "gztar"}[suffix]
    path = shutil.make_archive(str(tmp_path / "s"), kind, tmp_path / "in")
    content = Path(path).read_bytes()
    # A zip's directory stands at its end: the content before it is damaged.
    cut = content[:300] + content[400:] if suffix == ".zip" else content[: len(content) // 2]
    Path(path).write_bytes(cut)
    result = run("scribbles", path, "-o", tmp_path / "out")
    assert isinstance(result.exception, DataError), result.exception
