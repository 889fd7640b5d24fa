"""Annotations of other programs become label images, and predictions become annotations."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.data.labels import labels as command
from rlossctl.data.images import read_label
from rlossctl.data.labelling import rle
from rlossctl.data.labelling.exporting import CocoFile, labelme
from rlossctl.data.labelling.idmaps import IdMap, parse_map
from rlossctl.data.labelling.importing import Options, import_labels
from rlossctl.data.labelling.outlines import outlines
from rlossctl.data.palette import listed_palette, save_label_png
from rlossctl.data.palette_files import read_palette
from rlossctl.data.sets.palettes import find_palette
from rlossctl.data.weak.raster import fill
from rlossctl.errors import DataError, UsageError

CLASSES = ("background", "cat", "dog")


def wanted() -> np.ndarray:
    """A cat of 4 x 3 pixels with a dog of one pixel in it, in a photo of 8 x 10 (height x width)."""
    ids = np.zeros((8, 10), np.uint8)
    ids[2:6, 1:4] = 1
    ids[3, 2] = 2
    return ids


CAT, DOG = [[1, 2], [4, 2], [4, 6], [1, 6]], [[2, 3], [3, 3], [3, 4], [2, 4]]


def png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, format="PNG")
    return file.getvalue()


def labelme_file(path: Path) -> None:
    mask = base64.b64encode(png(np.ones((1, 1)))).decode()
    shapes = [
        {"label": "cat", "points": [CAT[0], CAT[2]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[2, 3], [2, 3]], "shape_type": "mask", "mask": mask},
    ]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 8, "imageWidth": 10}
    (path / "a.json").write_text(json.dumps(content))


def coco_file(path: Path) -> None:
    ids = wanted()
    flat = [part for point in CAT for part in point]
    counts = {"size": [8, 10], "counts": rle.encode(ids == 2)}
    annotations = [
        {"image_id": 5, "category_id": 17, "segmentation": [flat]},
        {"image_id": 5, "category_id": 18, "segmentation": counts, "iscrowd": 1},
    ]
    content = {
        "images": [{"id": 5, "file_name": "x/a.jpg", "height": 8, "width": 10}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": annotations,
    }
    (path / "instances.json").write_text(json.dumps(content))


def supervisely_file(path: Path) -> None:
    data = base64.b64encode(zlib.compress(png(np.ones((1, 1))))).decode()
    polygon = {"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": CAT, "interior": [DOG]}}
    bitmap = {"classTitle": "dog", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [2, 3]}}
    (path / "ann").mkdir()
    content = {"size": {"height": 8, "width": 10}, "objects": [polygon, bitmap]}
    (path / "ann/a.jpg.json").write_text(json.dumps(content))
    (path / "meta.json").write_text('{"classes": []}')


def cityscapes_file(path: Path) -> None:
    objects = [{"label": "cat", "polygon": CAT}, {"label": "dog", "polygon": DOG}]
    content = {"imgHeight": 8, "imgWidth": 10, "objects": objects}
    (path / "a_gtFine_polygons.json").write_text(json.dumps(content))


def cvat_file(path: Path) -> None:
    points = ";".join(f"{x},{y}" for x, y in CAT)
    (path / "annotations.xml").write_text(
        "<annotations><meta><task><labels><label><name>cat</name></label><label><name>dog</name></label></labels>"
        f'</task></meta><image name="x/a.png" width="10" height="8">'
        '<mask label="dog" rle="0, 1" left="2" top="3" width="1" height="1" z_order="2"/>'
        f'<polygon label="cat" points="{points}" z_order="1"/></image></annotations>'
    )


PROGRAMS = (labelme_file, coco_file, supervisely_file, cityscapes_file, cvat_file)


@pytest.mark.parametrize("write", PROGRAMS)
@pytest.mark.parametrize("names", [CLASSES, None])
def test_every_program(tmp_path, write, names):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write(source)
    done = import_labels([str(source)], str(out), Options(names))
    assert [mask.path.name for mask in done.labels] == ["a.png"] and done.background == 0
    np.testing.assert_array_equal(read_label(out / "a.png"), wanted())
    assert done.classes == ({} if names else dict(enumerate(CLASSES)))


def test_names_get_ids_by_a_map(tmp_path):
    labelme_file(tmp_path)
    options = Options(ids=parse_map("cat=7,other=255"), background=3)
    import_labels([str(tmp_path / "a.json")], str(tmp_path / "out"), options)
    found = read_label(tmp_path / "out/a.png")
    np.testing.assert_array_equal(found, np.array([3, 7, 255], np.uint8)[wanted()])
    with pytest.raises(DataError, match=r"'dog'(.|\n)*--map NAME=ID"):
        import_labels([str(tmp_path / "a.json")], str(tmp_path / "o2"), Options(ids=parse_map("cat=1")))


def test_lines_and_dots_leave_the_rest_unlabelled(tmp_path):
    shapes = [
        {"label": "cat", "points": [[0.5, 2.5], [9.5, 2.5]], "shape_type": "line"},
        {"label": "dog", "points": [[5.2, 5.7]], "shape_type": "point"},
    ]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 8, "imageWidth": 10}
    (tmp_path / "a.json").write_text(json.dumps(content))
    import_labels([str(tmp_path)], str(tmp_path / "out"), Options(CLASSES, width=1))
    expected = np.full((8, 10), 255, np.uint8)
    expected[2], expected[5, 5] = 1, 2
    np.testing.assert_array_equal(read_label(tmp_path / "out/a.png"), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_become_ids(tmp_path, mode):
    colours = np.array([[0, 0, 0], [200, 10, 0], [3, 2, 1]], np.uint8)
    image = Image.fromarray(colours[wanted()])
    image = image.quantize(dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png")
    options = Options(palette=listed_palette(colours.tolist()))
    import_labels([str(tmp_path / "a.png")], str(tmp_path / "out"), options)
    np.testing.assert_array_equal(read_label(tmp_path / "out/a.png"), wanted())
    less = listed_palette(colours[:2].tolist())
    with pytest.raises(DataError, match=r"3,2,1 \(1 pixels\)(.|\n)*--map other=255"):
        import_labels([str(tmp_path / "a.png")], str(tmp_path / "o2"), Options(palette=less))
    import_labels(
        [str(tmp_path / "a.png")], str(tmp_path / "o3"), Options(palette=less, ids=parse_map("other=255"))
    )
    np.testing.assert_array_equal(read_label(tmp_path / "o3/a.png"), np.array([0, 1, 255])[wanted()])


def test_a_colour_picture_needs_a_palette(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="--palette NAME"):
        import_labels([str(tmp_path / "a.png")], str(tmp_path / "out"), Options())


@pytest.mark.parametrize(
    ("ids", "text", "expected"),
    [
        ([[0, 255]], "0/255", [[0, 1]]),
        ([[0, 1, 150, 255]], "reduce-zero", [[255, 0, 149, 255]]),
        ([[7, 8, 0, 33]], "cityscapes", [[0, 1, 255, 18]]),
        ([[300, 1, 40000]], "300=2,1=1,other=255", [[2, 1, 255]]),
        ([[300, 1]], "other=255", [[255, 1]]),
    ],
)
def test_ids_are_mapped(tmp_path, ids, text, expected):
    Image.fromarray(np.array(ids, np.uint16)).save(tmp_path / "a.png")
    import_labels([str(tmp_path / "a.png")], str(tmp_path / "out"), Options(ids=parse_map(text)))
    np.testing.assert_array_equal(read_label(tmp_path / "out/a.png"), expected)


def test_ids_of_16_bits_are_refused_without_a_map(tmp_path):
    Image.fromarray(np.array([[300, 1]], np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"found: +300\n(.|\n)*--map FROM=TO"):
        import_labels([str(tmp_path / "a.png")], str(tmp_path / "out"), Options())


def test_maps_from_files_and_wrong_ones(tmp_path):
    (tmp_path / "map.txt").write_text("# from to\n7 0\ntraffic light 6\nother=255\n")
    assert parse_map(str(tmp_path / "map.txt")) == IdMap({"7": 0, "traffic light": 6, "other": 255})
    for text in ("7=256", "=3", "seven", "1=x"):
        with pytest.raises(UsageError, match="not a map of ids"):
            parse_map(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "0 0 0 sky\n255 128 0 road way\n"),
        ("a.txt", "1,255,128,0,road way\n0,0,0,0,sky\n"),
        ("a.txt", "# label:color_rgb:parts:actions\nsky:0,0,0::\nroad way:255,128,0::\n"),
        ("a.txt", "#000000 sky\n#ff8000 road way\n"),
        ("a.json", '[{"name": "sky", "color": "#000000"}, {"name": "road way", "color": [255, 128, 0]}]'),
        ("a.json", '{"sky": [0, 0, 0], "road way": [255, 128, 0]}'),
    ],
)
def test_palettes_from_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    palette = read_palette(str(tmp_path / name))
    assert palette.colours == {0: (0, 0, 0), 1: (255, 128, 0)}
    assert palette.names == {0: "sky", 1: "road way"}


def test_known_palettes_and_those_of_pictures(tmp_path):
    assert (
        find_palette("cityscapes").colours[13] == (0, 0, 142)
        and find_palette("cityscapes").names[13] == "car"
    )
    assert find_palette("voc").colours[15] == (192, 128, 128) and find_palette("voc").names[15] == "person"
    save_label_png(tmp_path / "a.png", np.array([[0, 15]]))
    assert find_palette(str(tmp_path / "a.png")).colours == {0: (0, 0, 0), 15: (192, 128, 128)}
    (tmp_path / "a.txt").write_text("red green\n")
    with pytest.raises(DataError, match=r"line 1: 'red green'"):
        find_palette(str(tmp_path / "a.txt"))


def test_run_lengths_are_those_of_coco():
    """Texts that pycocotools 2.0 gives."""
    mask, large = np.zeros((5, 4), bool), np.zeros((40, 50), bool)
    mask[1:4, 1:3] = True
    large[3:30, 2:9] = large[10:13, 20:40] = True
    texts = {
        "63204": mask,
        "be0": np.zeros((30, 23), bool),
        "0d1": np.ones((4, 13), bool),
        "c2k0=00000000000o=XOiB0000000000000000000000000000000000000V<": large,
    }
    for text, pixels in texts.items():
        assert rle.encode(pixels) == text
        np.testing.assert_array_equal(rle.decode(text, *pixels.shape), pixels)
    assert (rle.decode([6, 3, 2, 3, 6], 5, 4) == mask).all()
    for broken in ([1, 2], "o", "\x00"):
        with pytest.raises(ValueError, match="run"):
            rle.decode(broken, 5, 4)


def test_outlines_draw_the_same_map_again():
    rng = np.random.default_rng(4)
    for factor in (1, 3):
        ids = np.kron(rng.choice([0, 1, 2, 255], (11, 9)), np.ones((factor, factor))).astype(np.uint8)
        canvas = np.full(ids.shape, 255, np.uint8)
        for outline in outlines(ids, 255):
            fill(canvas, [outline.points], outline.label)
        np.testing.assert_array_equal(canvas, ids)


@pytest.mark.parametrize("void", [False, True])
def test_predictions_as_annotations_come_back(tmp_path, void):
    ids = wanted()
    ids[7, 4:6] = 255 if void else 0
    (tmp_path / "a.json").write_text(labelme(ids, CLASSES, "a.jpg"))
    with (tmp_path / "b.coco.json").open("wb") as file:
        coco = CocoFile(file, CLASSES)
        coco.add(ids, "photos/a.jpg")
        coco.close()
    assert len(json.loads((tmp_path / "a.json").read_text())["shapes"]) == (4 if void else 2)
    for name in ("a.json", "b.coco.json"):
        options = Options(CLASSES, background=255 if void else 0)
        import_labels([str(tmp_path / name)], str(tmp_path / name[0]), options)
        np.testing.assert_array_equal(read_label(tmp_path / name[0] / "a.png"), ids)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not an annotation file"),
        ('{"a": 1}', "unknown kind"),
        ('{"shapes": [{"label": "cat"}], "imageHeight": 8, "imageWidth": 10}', "no 'points'"),
        ('{"shapes": [], "imageHeight": 80000, "imageWidth": 80000}', "6,400,000,000 pixels"),
        ('{"shapes": [], "imageHeight": 0, "imageWidth": 8}', "a size of 8x0"),
        (
            '{"shapes": [{"label": "cat", "points": [[0, 1e300]]}], "imageHeight": 8, "imageWidth": 9}',
            "far outside",
        ),
        ('{"images": [], "annotations": [{"image_id": 3}]}', "image 3"),
        ('{"type": "x", "features": []}', "GeoJSON"),
    ],
)
def test_damaged_annotations_are_refused(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=words):
        import_labels([str(tmp_path / "a.json")], str(tmp_path / "out"), Options(CLASSES))


def test_the_command_writes_a_list(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    labelme_file(photos)
    Image.new("RGB", (10, 8)).save(photos / "a.jpg")
    out, listed = str(tmp_path / "out"), str(tmp_path / "train.txt")
    arguments = [str(photos), "-o", out, "--images", str(photos), "--list", listed, "--root", str(tmp_path)]
    result = CliRunner().invoke(command, arguments)
    assert result.exception is None, result.output
    assert Path(listed).read_text() == "photos/a.jpg out/a.png\n"
    assert Path(f"{out}/classes.txt").read_text() == "background\ncat\ndog\n"
    assert "1 label in" in result.output and "labelme: 1 file" in result.output
    Image.new("RGB", (11, 8)).save(photos / "a.jpg")
    result = CliRunner().invoke(command, [str(photos), "-o", str(tmp_path / "o2"), "--images", str(photos)])
    assert isinstance(result.exception, DataError) and "photo 11x8" in str(result.exception)
