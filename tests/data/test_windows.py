from __future__ import annotations

import json

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from rlossctl.data.images import read_image
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.sources.windows import WindowSource, plan, read_windows
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.weights.mean import write_mean

FILE = """# 0
a.png
3
20
30
3
2 0.9 3 4 12 15
1 0.5 0 0 29 19
1 0.3 5 5 9 9
# 1
b.png 3 24 16
2
0 0.0 1 2 8 20
7 1.0 10 0 15 7
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(3)
    for name, size in (("a", (20, 30, 3)), ("b", (24, 16, 3))):
        Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "windows.txt").write_text(FILE)
    return tmp_path


def source(folder, data="batch_size: 4", transform="crop_size: 8", phase="TRAIN", **options):
    text = f'name: "in" type: "WindowData" top: "data" top: "label" transform_param {{ {transform} }} '
    text += f'window_data_param {{ source: "{folder}/windows.txt" root_folder: "{folder}/" {data} }}'
    return WindowSource(text_format.Parse(text, LayerParameter()), phase, **options)


def crop(folder, name, box, size=8):
    x1, y1, x2, y2 = box
    part = read_image(folder / f"{name}.png")[y1 : y2 + 1, x1 : x2 + 1]
    return resize_bilinear(part, size, size).transpose(2, 0, 1).astype(np.float32)


def test_windows_are_sorted_by_overlap(folder):
    windows = read_windows(folder / "windows.txt", f"{folder}/")
    assert [(window.label, window.box) for window in windows][-1] == (7, (10, 0, 15, 7))
    background, foreground = source(folder).kinds
    assert [window.overlap for window in foreground] == pytest.approx([0.9, 0.5, 1.0])
    assert [window.overlap for window in background] == pytest.approx([0.3, 0.0])
    # Thresholds are compared in float32: 0.3 is not below 0.3. Between the two a window is neither.
    background, _ = source(folder, "batch_size: 4 bg_threshold: 0.3").kinds
    assert [window.overlap for window in background] == [0.0]


@pytest.mark.proves("WindowData")
def test_background_first_then_foreground(folder):
    data = source(folder, "batch_size: 5 fg_fraction: 0.5", "crop_size: 8 mean_value: 9 scale: 3")
    assert data.shapes() == {"data": (5, 3, 8, 8), "label": (5,)} and data.backgrounds == 3
    objects = {2: ("a", (3, 4, 12, 15)), 1: ("a", (0, 0, 29, 19)), 7: ("b", (10, 0, 15, 7))}
    others = [crop(folder, "a", (5, 5, 9, 9)), crop(folder, "b", (1, 2, 8, 20))]
    seen = set()
    for _ in range(10):
        image, label = data.next_batch()
        assert label[:3].tolist() == [0, 0, 0] and set(label[3:]) <= set(objects)
        seen |= set(label)
        for one in image[:3]:
            assert any(np.array_equal(one, (other - 9) * 3) for other in others)
        for one, number in zip(image[3:], label[3:], strict=True):
            assert np.array_equal(one, (crop(folder, *objects[number]) - 9) * 3)
    assert seen == {0, 1, 2, 7}


def test_scale_of_the_window_param_counts_first(folder):
    both = source(folder, "batch_size: 1 scale: 2 fg_fraction: 0", "crop_size: 8 scale: 3", seed=1)
    one = source(folder, "batch_size: 1 fg_fraction: 0", "crop_size: 8", seed=1)
    assert np.array_equal(both.next_batch()[0], one.next_batch()[0] * 2)


def test_padding_with_context_leaves_zero_outside_of_the_image(folder):
    mean = np.random.default_rng(0).uniform(0, 99, (3, 12, 12)).astype(np.float32)
    write_mean(folder / "mean", mean)
    (folder / "windows.txt").write_text("# 0\na.png 3 20 30 1\n1 1 0 4 5 9\n")
    transform = f'crop_size: 8 mean_file: "{folder}/mean"'
    image, label = source(folder, "batch_size: 1 fg_fraction: 1 context_pad: 2", transform).next_batch()
    # Half sizes 3, centre (3, 7), factor 8 / 4: x -3..9, y 1..13; 3 of 13 columns lie outside: 1.8 of 8.
    warp = plan((0, 4, 5, 9), (20, 30), 8, 2, False, False)
    assert warp == ((0, 1, 9, 13), 8, 6, 0, 2)
    part = read_image(folder / "a.png")[1:14, 0:10]
    expected = np.zeros((3, 8, 8), np.float32)
    expected[:, :, 2:] = resize_bilinear(part, 8, 6).transpose(2, 0, 1) - mean[:, 2:10, 4:10]
    assert label.tolist() == [1] and np.array_equal(image[0], expected)


def test_a_flip_mirrors_the_padding_too():
    straight = plan((0, 4, 5, 9), (20, 30), 8, 2, False, False)
    assert plan((0, 4, 5, 9), (20, 30), 8, 2, False, True) == straight._replace(left=0)
    wide = plan((10, 8, 19, 11), (20, 30), 8, 0, True, False)
    assert wide == ((10, 5, 20, 15), 8, 8, 0, 0), "a square around the window's centre"


def test_the_same_stream_for_any_number_of_workers_and_after_a_resume(folder):
    def make(**options):
        transform = "crop_size: 8 mirror: true"
        return source(folder, 'batch_size: 3 context_pad: 1 crop_mode: "square"', transform, **options)

    sources = [make(seed=4, workers=count) for count in (0, 3)]
    for _ in range(6):
        first, other = [data.next_batch() for data in sources]
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    resumed = make()
    resumed.restore(json.loads(json.dumps(sources[0].state())))
    assert np.array_equal(resumed.next_batch()[0], sources[1].next_batch()[0])
    for data in sources:
        data.close()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, "an empty file"),
        ("a.png\n", 1, "'a.png'"),
        ("# 1\n", 1, "image number 1"),
        ("# 0\na.png 3 20\nx 1\n", 3, "'x'"),
        ("# 0\na.png 3 20 30 2\n1 0.5 0 0 1 1\n", 4, "the end"),
        ("# 0\na.png 3 20 30 0\n1 0.5 0 0 1 1\n", 3, "'1'"),
    ],
)
def test_other_files(folder, text, line, found):
    (folder / "windows.txt").write_text(text)
    with pytest.raises(DataError, match="not a window file") as caught:
        source(folder).next_batch()
    assert caught.value.where.endswith(f"windows.txt:{line}") and caught.value.found == found


def test_what_is_refused(folder):
    with pytest.raises(DataError, match="impossible size"):
        source(folder, transform="")
    with pytest.raises(DataError, match="impossible size"):
        source(folder, "batch_size: 1 context_pad: 4")
    with pytest.raises(DataError, match="no windows to draw"):
        source(folder, "batch_size: 4 fg_threshold: 2").next_batch()
    with pytest.raises(DataError, match="foreground window has no class"):
        source(folder, "batch_size: 4 fg_threshold: 0").next_batch()
    (folder / "windows.txt").write_text("# 0\na.png 3 20 30 1\n1 1 0 4 30 9\n")
    with pytest.raises(DataError, match="outside of its image"):
        source(folder, "batch_size: 1 fg_fraction: 1").next_batch()
    (folder / "windows.txt").unlink()
    with pytest.raises(DataError, match="window file cannot be read"):
        source(folder).next_batch()
