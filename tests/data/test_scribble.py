from __future__ import annotations

import numpy as np
import pytest

from rlossctl.data.images import read_label
from rlossctl.data.weak.regions import distance_inside, find_regions
from rlossctl.data.weak.scribble import make_scribbles
from rlossctl.errors import DataError


def flood(mask):
    """8-connected regions, pixel by pixel."""
    index = np.full(mask.shape, -1)
    count = 0
    for start in np.ndindex(*mask.shape):
        if index[start] >= 0:
            continue
        index[start] = count
        stack = [start]
        while stack:
            y, x = stack.pop()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    to = (y + dy, x + dx)
                    inside = 0 <= to[0] < mask.shape[0] and 0 <= to[1] < mask.shape[1]
                    if inside and index[to] < 0 and mask[to] == mask[start]:
                        index[to] = count
                        stack.append(to)
        count += 1
    return index, count


def scene(rows=97, columns=129):
    """A disc, a ring, a thin pole, a speck and a border of ignored pixels."""
    y, x = np.mgrid[:rows, :columns]
    mask = np.zeros((rows, columns), np.uint8)
    away = np.hypot(y - 50, x - 35)
    mask[away < 24] = 255
    mask[away < 22] = 3
    around = np.hypot(y - 45, x - 92)
    mask[(around < 30) & (around > 17)] = 7
    mask[10:80, 66:68] = 9
    mask[5:7, 5:7] = 11
    return mask


@pytest.mark.parametrize("values", [2, 3, 6])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (23, 31)])
def test_regions_are_those_of_a_flood_fill(values, shape):
    mask = np.random.default_rng(values).integers(0, values, shape).astype(np.uint8)
    regions = find_regions(mask)
    expected, count = flood(mask)
    assert len(regions.ids) == count
    pairs = np.unique(np.stack([regions.index.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == count
    for region in range(count):
        y, x = np.nonzero(regions.index == region)
        assert regions.areas[region] == len(y) and (mask[y, x] == regions.ids[region]).all()
        assert regions.boxes[region].tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]


def test_distances_are_nearly_euclidean():
    mask = scene(40, 50)
    index = find_regions(mask).index
    distance = distance_inside(index)
    padded = np.pad(index, 1, constant_values=-1)
    grid = np.stack(np.mgrid[:42, :52], axis=-1).reshape(-1, 2)
    for y in range(0, 40, 3):
        for x in range(0, 50, 3):
            away = np.hypot(*(grid - (y + 1, x + 1)).T)
            true = away[padded.ravel() != index[y, x]].min()
            assert true - 0.45 <= distance[y, x] <= 1.09 * true + 0.01


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("coverage", [0.02, 0.03, 0.06])
def test_coverage_is_reached_and_no_stroke_leaves_its_region(coverage, width):
    mask = scene()
    drawn = make_scribbles(mask, coverage=coverage, width=width)
    labelled = drawn != 255
    assert drawn.dtype == np.uint8 and drawn.shape == mask.shape
    assert (drawn[labelled] == mask[labelled]).all()
    assert 0.88 * coverage < labelled.mean() < 1.12 * coverage


def test_every_class_is_named_even_a_speck():
    drawn = make_scribbles(scene(), coverage=0.01)
    assert set(np.unique(drawn)) == {0, 3, 7, 9, 11, 255}


def test_strokes_are_thin_and_keep_off_the_border():
    mask = scene()
    drawn = make_scribbles(mask, coverage=0.03, width=3)
    index = find_regions(mask).index
    away = distance_inside(index)
    wide = np.isin(mask, (0, 3, 7))
    assert away[(drawn != 255) & wide].min() >= 2
    for number in (3, 7):
        stroke = drawn == number
        assert distance_inside(find_regions(stroke.astype(np.uint8)).index)[stroke].max() <= 3
    disc = np.argwhere(drawn == 3)
    assert np.hypot(*(disc - (50, 35)).T).min() < 8


def test_ignored_pixels_get_nothing():
    mask = scene()
    assert 7 not in make_scribbles(mask, ignore=7) and 3 in make_scribbles(mask, ignore=7)
    assert (make_scribbles(np.full((40, 40), 255, np.uint8)) == 255).all()


def test_the_seed_decides():
    first = make_scribbles(scene(), seed=1)
    assert np.array_equal(first, make_scribbles(scene(), seed=1))
    assert not np.array_equal(first, make_scribbles(scene(), seed=2))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 2), (200, 3)])
def test_odd_shapes(shape):
    drawn = make_scribbles(np.full(shape, 4, np.uint8))
    assert (drawn == 4).any() and set(np.unique(drawn)) <= {4, 255}


def test_a_plain_image_is_covered_too():
    assert 0.026 < (make_scribbles(np.zeros((120, 160), np.uint8)) == 0).mean() < 0.034


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (np.zeros((3, 3, 3)), {}),
        (np.full((3, 3), 300), {}),
        (np.zeros((3, 3)), {"coverage": 0}),
        (np.zeros((3, 3)), {"width": 0}),
    ],
)
def test_impossible_wishes(mask, options):
    with pytest.raises(DataError):
        make_scribbles(mask, **options)


@pytest.mark.slow
def test_real_masks(shared):
    folder = shared / "data/camvid/SegmentationClass"
    for path in sorted(folder.glob("*.png"))[::60]:
        mask = read_label(path)
        drawn = make_scribbles(mask)
        labelled = drawn != 255
        assert (drawn[labelled] == mask[labelled]).all() and 0.025 < labelled.mean() < 0.035
        assert set(np.unique(drawn)) == set(np.unique(mask)) | {255}
