"""label_type STROKES: clicks and scribbles move with their photo and are drawn into the crop."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.augmenting.geometry import Geometry, in_sight
from rlossctl.data.augmenting.resampling import inside, warped_label
from rlossctl.data.augmenting.strokes import Strokes
from rlossctl.data.images import read_label
from rlossctl.data.scenes.scene import draw_scene
from rlossctl.data.sets.names import class_names
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.data.weak.annotations import Stroke, read_clicks, read_scribbles
from rlossctl.data.weak.from_annotations import write_annotations
from rlossctl.errors import DataError

STROKES = "batch_size: 1 label_type: STROKES"
EVERYTHING = Geometry(random=True, mirror=True, crop=(120, 150), scale=(0.5, 2), rotate=30, perspective=0.4)
XML = """<annotation><size><width>{width}</width><height>11</height></size>
<polygon><tag>plane</tag><point><X>2</X><Y>1</Y></point><point><X>14</X><Y>9</Y></point></polygon>
<polygon><tag>cat</tag><point><X>9</X><Y>1</Y></point></polygon></annotation>"""


@pytest.fixture
def annotated(folder):
    """Clicks on the photos of `folder`, of which photo 1 has none: two files."""
    rng = np.random.default_rng(1)
    for name, photos in (("one.json", (0, 2, 3, 4)), ("two.json", (3, 4, 5, 6))):
        clicks = {}
        for index in photos:
            with Image.open(folder / f"images/{index}.png") as image:
                spots = rng.uniform(-1, 1, (6, 2)) + rng.uniform(0, 1, (6, 2)) * image.size
            clicks[str(index)] = [{"x": x, "y": y, "cls": int(rng.integers(21))} for x, y in spots.tolist()]
        (folder / name).write_text(json.dumps(clicks))
    (folder / "list.txt").write_text("".join(f"images/{index}.png\n" for index in range(7)))
    return folder


@pytest.fixture
def source(annotated, layer):
    def make(data: str, transform: str = "", phase: str = "TEST", tops: int = 2, **options) -> ImageSegSource:
        message = layer(f"{STROKES} {data}".replace("@", f"{annotated}/"), transform, tops)
        return ImageSegSource(message, phase, source=annotated / "list.txt", root=f"{annotated}/", **options)

    return make


BOTH = 'annotation: "@one.json" annotation: "@two.json"'


@pytest.mark.parametrize("width", [1, 2, 5])
def test_where_nothing_moves_strokes_are_those_of_data_clicks(annotated, source, width):
    files = [annotated / "one.json", annotated / "two.json"]
    write_annotations(read_clicks(files), annotated / "drawn", photos=annotated / "images", width=width)
    data = source(f"{BOTH} stroke_width: {width}")
    for index in range(7):
        label = data.next_batch()[1][0, 0]
        drawn = annotated / f"drawn/{index}.png"
        assert np.array_equal(label, read_label(drawn)) if index != 1 else (label == 255).all()


def test_scribbles_keep_their_middle(annotated, source):
    (annotated / "xml").mkdir()
    (annotated / "xml/0.xml").write_text(XML.format(width=17))
    scribbles = read_scribbles(annotated / "xml", class_names("voc"))
    write_annotations(scribbles, annotated / "drawn", width=3, ratio=0.6)
    label = source('annotation: "@xml" stroke_width: 3 stroke_ratio: 0.6').next_batch()[1][0, 0]
    assert set(np.unique(label)) == {1, 8, 255}
    assert np.array_equal(label, read_label(annotated / "drawn/0.png"))


def clicks_on(mask: np.ndarray, seed: int) -> list[Stroke]:
    """Clicks anywhere in objects, two pixels from their borders or more: a crop may show half the detail."""
    rows, columns = mask.shape
    inner = mask[2:-2, 2:-2]
    around = [mask[y : rows - 4 + y, x : columns - 4 + x] == inner for y in range(5) for x in range(5)]
    places = np.argwhere(np.all(around, axis=0) & (inner != 255)) + 2
    places = np.random.default_rng(seed).permutation(places)[:200]
    return [Stroke(int(mask[y, x]), np.array([[y, x]], float)) for y, x in places]


def hits(mask: np.ndarray, seed: int) -> tuple[int, int]:
    """How many warped clicks there are in a crop, and how many lie on their class of the warped mask."""
    warp = EVERYTHING.draw(mask.shape, np.random.default_rng(seed))
    valid = inside(mask.shape, warp)
    drawn = Strokes(clicks_on(mask, seed)).drawn(mask.shape, warp, valid, 255)
    clicked = drawn != 255
    assert (drawn[~valid] == 255).all()
    return int(clicked.sum()), int((drawn == warped_label(mask, warp, 255))[clicked].sum())


def test_clicks_stay_on_their_objects():
    masks = [draw_scene(np.random.default_rng(seed), (97, 129))[1] for seed in range(3)]
    found = np.array([hits(mask, seed) for seed in range(6) for mask in masks]).sum(axis=0)
    assert found[0] > 1000 and found[1] >= 0.99 * found[0]


def test_clicks_stay_on_the_objects_of_camvid(shared):
    names = sorted((shared / "data/camvid/SegmentationClass").glob("*.png"))[::40]
    found = np.array([hits(read_label(name), seed) for seed, name in enumerate(names)]).sum(axis=0)
    assert found[0] > 200 and found[1] >= 0.99 * found[0]


def dense(points: np.ndarray, warp, shape) -> np.ndarray:
    """A line of the photo, moved point by point: the crop's pixels that it touches."""
    pixels = np.zeros(shape, bool)
    for start, end in pairwise(points):
        line = start + np.linspace(0, 1, 20000)[:, None] * (end - start)
        moved = warp.to_crop(line)
        y, x, w = moved[moved[:, 2] > 0].T
        places = np.floor(np.stack([y / w, x / w]) + 0.5)
        fits = ((places >= 0) & (places < np.array(shape)[:, None])).all(axis=0)
        pixels[tuple(places[:, fits].astype(int))] = True
    return pixels


def near(pixels: np.ndarray) -> np.ndarray:
    padded = np.pad(pixels, 1)
    rows, columns = pixels.shape
    return np.any([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0)


def test_lines_beyond_the_horizon_are_cut_there():
    """A small crop of a large photo under a strong perspective sees lines that cross its horizon."""
    rng = np.random.default_rng(0)
    geometry = Geometry(random=True, crop=(60, 80), scale=(1, 3), rotate=180, perspective=0.49)
    cut = 0
    for seed in range(20):
        warp = geometry.draw((900, 1200), np.random.default_rng(seed))
        line = rng.uniform(0, 1, (9, 2)) * (900, 1200)
        valid = inside((900, 1200), warp)
        drawn = Strokes([Stroke(3, line)]).drawn((900, 1200), warp, valid, 255) == 3
        wanted = dense(line, warp, warp.size) & valid
        assert not (drawn & ~near(wanted)).any() and not (wanted & ~near(drawn)).any()
        cut += drawn.any() and len(in_sight(warp.to_crop(line))) > 1
    assert cut >= 1


def test_the_stroke_s_width_is_that_in_the_crop(annotated, source):
    (annotated / "dot.json").write_text(json.dumps({"0": [{"x": 8, "y": 5, "cls": 3}]}))
    for scale in (0.5, 3):
        data = source(
            'annotation: "@dot.json" stroke_width: 3',
            f"crop_size: 61 scale_min: {scale} scale_max: {scale}",
            "TRAIN",
        )
        assert (data.next_batch()[1] == 3).sum() == 5  # a dot of 3 pixels has no corners


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_is_the_same(source, workers):
    text = "crop_size: 13 mirror: true scale_min: 0.5 scale_max: 2 rotate: 10 perspective: 0.2"
    first, second = (source(f"{BOTH} shuffle: true", text, "TRAIN", 4, seed=4) for _ in range(2))
    resumed = source(f"{BOTH} shuffle: true", text, "TRAIN", 4, workers=workers)
    for _ in range(4):
        first.next_batch()
        second.next_batch()
    resumed.restore(second.state())
    for _ in range(4):
        assert all(map(np.array_equal, first.next_batch(), resumed.next_batch()))
    resumed.close()


def test_a_net_without_labels_reads_no_strokes(source):
    assert len(source('annotation: "@nowhere.json"', "crop_size: 9", tops=1).next_batch()) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "no strokes are named"),
        (f"{BOTH} stroke_width: 0", "width of strokes"),
        (f"{BOTH} stroke_ratio: 0", "share of strokes"),
        (f"{BOTH} stroke_ratio: nan", "share of strokes"),
        (f"{BOTH} new_height: 9 new_width: 9", "not resized with new_height"),
    ],
)
def test_fields_that_are_refused(source, data, message):
    with pytest.raises(DataError, match=message):
        source(data)


def test_fields_without_effect_are_refused(layer):
    with pytest.raises(DataError, match="no effect"):
        ImageSegSource(layer("label_type: PIXEL stroke_width: 3", "crop_size: 9"), "TRAIN")


def test_cityscapes_own_ids(annotated, source):
    own = (7, 33, 3)  # 3 does not count
    clicks = [{"x": 2 * place, "y": 5, "cls": label} for place, label in enumerate(own)]
    (annotated / "ids.json").write_text(json.dumps({"0": clicks}))
    label = source('annotation: "@ids.json" cityscapes_ids: true').next_batch()[1][0, 0]
    assert label[5, :6].tolist() == [0, 255, 18, 255, 255, 255] and (label != 255).sum() == 2


def test_annotations_that_do_not_fit(annotated, source):
    (annotated / "other.json").write_text('{"somewhere": []}')
    with pytest.raises(DataError, match=r"no photo of the list.*\n.*annotations of somewhere") as caught:
        source('annotation: "@other.json"').next_batch()
    assert "0, 1, 2 ..." in caught.value.expected
    with pytest.raises(DataError, match="class does not exist"):
        source(f'{BOTH} classes: "camvid"').next_batch()
    (annotated / "0.xml").write_text(XML.format(width=18))
    with pytest.raises(DataError, match=r"photo 17x11, annotation 18x11"):
        source('annotation: "@0.xml"').next_batch()
