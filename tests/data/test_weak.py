"""Skeletons, clicks and boxes from masks."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.data.weak.kinds import KINDS, make_weak_label
from rlossctl.data.weak.regions import find_regions
from rlossctl.data.weak.thinning import skeletons
from rlossctl.errors import DataError


def scene(rows: int = 90, columns: int = 120) -> np.ndarray:
    """A disc, a bar and a ring on background, with an ignored border around the disc."""
    y, x = np.mgrid[:rows, :columns]
    mask = np.zeros((rows, columns), np.uint8)
    away = np.hypot(y - 40, x - 30)
    mask[away < 22] = 255
    mask[away < 20] = 3
    mask[70:80, 10:110] = 9
    around = np.hypot(y - 35, x - 85)
    mask[(around < 28) & (around > 14)] = 7
    return mask


def components(pixels: np.ndarray) -> int:
    """How many 8-connected parts the true pixels have."""
    regions = find_regions(pixels.astype(np.uint8))
    return int((regions.ids == 1).sum())


def test_a_skeleton_is_thin_connected_and_inside():
    mask = scene()
    regions = find_regions(mask)
    thin = skeletons(regions.index)
    for region in range(len(regions.ids)):
        own = thin & (regions.index == region)
        assert components(own) == 1, "thinning neither parts a region nor removes it"
    full = thin[:-1, :-1] & thin[1:, :-1] & thin[:-1, 1:] & thin[1:, 1:]
    assert full.sum() <= 4, "no block of two by two is left but at crossings"
    ring = np.argwhere(thin & (mask == 7))
    assert np.abs(np.hypot(ring[:, 0] - 35, ring[:, 1] - 85) - 21).max() < 2, (
        "midway between the ring's borders"
    )


def test_a_bar_becomes_a_line_along_its_middle():
    mask = np.zeros((21, 60), np.uint8)
    mask[8:13, 5:55] = 1
    thin = np.argwhere(skeletons(find_regions(mask).index) & (mask == 1))
    assert set(thin[:, 0]) == {10} and 44 <= len(thin) <= 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_repeatable_and_never_says_anything_wrong(kind):
    mask = scene()
    first = make_weak_label(mask, kind, seed=1)
    assert first.dtype == np.uint8 and np.array_equal(first, make_weak_label(mask, kind, seed=1))
    if kind != "boxes":
        drawn = first != 255
        assert (first[drawn] == mask[drawn]).all()
        assert set(np.unique(first)) == {0, 3, 7, 9, 255}, "every class has some"


@pytest.mark.parametrize("kind", ["strokes", "skeleton", "clicks"])
def test_another_seed_draws_elsewhere(kind):
    options = {} if kind == "clicks" else {"coverage": 0.02}
    first, second = (make_weak_label(scene(), kind, seed=seed, **options) for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("coverage", [0.01, 0.02, 0.03])
def test_a_skeleton_is_cut_back_to_the_coverage(coverage):
    drawn = make_weak_label(scene(), "skeleton", coverage=coverage) != 255
    assert abs(drawn.mean() - coverage) < 0.25 * coverage
    assert (
        make_weak_label(scene(), "skeleton", coverage=0.9).tolist()
        == make_weak_label(scene(), "skeleton").tolist()
    ), "there is no more than the whole"


def test_a_click_is_one_dot_in_each_region():
    label = make_weak_label(scene(), "clicks", width=1)
    assert (label != 255).sum() == (find_regions(scene()).ids != 255).sum()


def test_boxes_small_over_large_and_background_around():
    mask = np.zeros((40, 50), np.uint8)
    mask[5:35, 5:45] = 4
    mask[10:20, 10:20] = 2
    mask[0, 49] = 255
    label = make_weak_label(mask, "boxes")
    expected = np.zeros_like(mask)
    expected[5:35, 5:45] = 4
    expected[10:20, 10:20] = 2
    assert np.array_equal(label, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_masks(kind):
    nothing = make_weak_label(np.full((9, 9), 255, np.uint8), kind)
    assert (nothing == (0 if kind == "boxes" else 255)).all()
    assert make_weak_label(np.full((1, 1), 2, np.uint8), kind)[0, 0] == 2
    with pytest.raises(DataError, match="cannot be made"):
        make_weak_label(np.zeros((3, 3, 3), np.uint8), kind)
