"""Boundary IoU against the authors' way of counting: erosion after erosion, class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlossctl.evaluation.scoring import boundary


def eroded(mask: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        padded = np.pad(mask, 1)
        height, width = mask.shape
        mask = np.all([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return mask


def counted(true_mask: np.ndarray, predicted_mask: np.ndarray, distance: int) -> list[int]:
    bands = [mask & ~eroded(mask, distance) for mask in (true_mask, predicted_mask)]
    return [int((bands[0] & bands[1]).sum()), int(bands[0].sum()), int(bands[1].sum())]


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_repeated_erosion(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 50, 2))
    blocks = rng.integers(0, 4, (10, 10)).astype(np.uint8).repeat(5, 0).repeat(5, 1)
    truth = blocks[: shape[0], : shape[1]].copy()
    prediction = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
    truth[rng.random(shape) < 0.01] = 255
    ratio = float(rng.choice([0.01, 0.02, 0.05, 0.2]))
    masks = np.arange(4)[:, None, None] == prediction
    labels = boundary.count_labels(truth, prediction, 4, 255, ratio)
    overlapping = boundary.count_masks(truth, masks, 255, ratio)
    distance = max(1, round(ratio * math.hypot(*shape)))
    for c in range(4):
        expected = counted(truth == c, (prediction == c) & (truth != 255), distance)
        assert [labels.hits[c], labels.truth[c], labels.predicted[c]] == expected
        assert [overlapping.hits[c], overlapping.truth[c], overlapping.predicted[c]] == expected


def test_a_square_shifted_by_one_pixel():
    """A 10x10 square in 20x20, d = 1 (2 % of 28.3): bands of 36 pixels that cross in 2."""
    truth, prediction = np.zeros((2, 20, 20), np.uint8)
    truth[5:15, 5:15] = 1
    prediction[6:16, 6:16] = 1
    counts = boundary.count_labels(truth, prediction, 2, 255, 0.02)
    assert [counts.hits[1], counts.truth[1], counts.predicted[1]] == [2, 36, 36]
    same = boundary.count_labels(truth, truth, 2, 255, 0.02)
    np.testing.assert_array_equal(same.iou(), [1, 1])


def test_predictions_without_a_class_have_no_boundary():
    truth = np.zeros((8, 8), np.uint8)
    counts = boundary.count_labels(truth, np.full((8, 8), 255, np.uint8), 2, 255, 0.02)
    assert counts.predicted.tolist() == [0, 0]
    assert counts.truth.tolist() == [28, 0]
