"""Scores from counts: hand-made cases, torchmetrics, and averages over images."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.counts import VOID, ClassCounts, class_mean, image_wise
from rlossctl.evaluation.predicting.rules import Decision
from rlossctl.evaluation.scoring.confusion import Confusion
from rlossctl.evaluation.scoring.tally import Tally


def tally_of(pairs, classes=3, **options) -> Tally:
    tally = Tally(len(pairs), classes, 255, **options)
    for index, (truth, prediction) in enumerate(pairs):
        truth, prediction = np.array(truth, np.uint8), np.array(prediction)
        masks = prediction.ndim == truth.ndim + 1
        decision = Decision(masks=prediction) if masks else Decision(labels=prediction.astype(np.uint8))
        tally.add(index, truth, decision)
    return tally


def test_scores_of_a_hand_made_image():
    tally = tally_of([([[0, 0, 0, 1], [1, 255, 255, 1]], [[0, 0, 1, 1], [0, 2, 1, 1]])])
    counts = tally.counts().sum()
    assert counts.hits.tolist() == [2, 2, 0]
    assert counts.truth.tolist() == [3, 3, 0]
    assert counts.predicted.tolist() == [3, 3, 0]  # class 2 was predicted on an ignored pixel only
    np.testing.assert_allclose(counts.iou(), [2 / 4, 2 / 4, np.nan])
    np.testing.assert_allclose(counts.dice(), [4 / 6, 4 / 6, np.nan])
    np.testing.assert_allclose(counts.precision(), [2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(counts.recall(), [2 / 3, 2 / 3, np.nan])
    assert tally.confusion.frequency_weighted_iou() == pytest.approx(0.5)
    assert tally.confusion.ignored == 2


def test_absent_classes_and_classes_of_interest():
    values = np.array([0.5, np.nan, 0.9])
    assert class_mean(values) == pytest.approx(0.7)
    assert class_mean(values, absent="zero") == pytest.approx(1.4 / 3)
    assert class_mean(values, absent="one") == pytest.approx(2.4 / 3)
    assert class_mean(values, [1, 2]) == pytest.approx(0.9)
    assert class_mean(values, [1]) is None
    assert class_mean(values, [1, 2], "zero") == pytest.approx(0.45)


def test_image_wise_averages_are_not_those_of_the_set():
    """Two images: class 1 is absent from the second, class 2 is predicted there only."""
    tally = tally_of([([[0, 0, 1, 1]], [[0, 0, 1, 0]]), ([[0, 0, 0, 0]], [[0, 0, 0, 2]])])
    scores = image_wise(tally.counts())
    first, second = (2 / 3 + 1 / 2) / 2, (3 / 4 + 0) / 2
    assert scores.miou_images == pytest.approx((first + second) / 2)
    assert scores.miou_classes == pytest.approx(((2 / 3 + 3 / 4) / 2 + 1 / 2 + 0) / 3)
    assert scores.mdice_images == pytest.approx(((4 / 5 + 2 / 3) / 2 + (6 / 7 + 0) / 2) / 2)
    assert scores.images == 2
    assert class_mean(tally.counts().sum().iou()) == pytest.approx((5 / 7 + 1 / 2 + 0) / 3)
    only = image_wise(tally.counts(), [1])
    assert (only.miou_images, only.images) == (pytest.approx(0.5), 1)


def test_images_that_are_all_ignored_are_left_out():
    tally = tally_of([([[255, 255]], [[0, 1]]), ([[0, 1]], [[0, 1]])])
    scores = image_wise(tally.counts())
    assert (scores.miou_images, scores.images) == (1.0, 1)
    empty = tally_of([([[255]], [[0]])])
    assert image_wise(empty.counts()).miou_images is None
    assert empty.confusion.frequency_weighted_iou() is None


def test_overlapping_masks_have_their_own_counts():
    truth = [[0, 0, 1, 255]]
    masks = np.array([[[1, 1, 1, 1]], [[0, 1, 1, 1]], [[0, 0, 0, 1]]], bool)
    tally = tally_of([(truth, masks)], masks=True)
    counts = tally.counts().sum()
    assert counts.hits.tolist() == [2, 1, 0]
    assert counts.truth.tolist() == [2, 1, 0]
    assert counts.predicted.tolist() == [3, 2, 0]
    assert tally.confusion is None


def test_masks_without_overlap_count_as_labels_do():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, (9, 9))
    truth[rng.random((9, 9)) < 0.2] = 255
    labels = rng.integers(0, 4, (9, 9))
    masks = np.arange(4)[:, None, None] == labels
    as_labels, as_masks = tally_of([(truth, labels)], 4), tally_of([(truth, masks)], 4, masks=True)
    np.testing.assert_array_equal(as_labels.rows, as_masks.rows)


def test_unassigned_pixels_are_missed_and_nobodys_false_alarm():
    confusion = Confusion(2)
    confusion.add(np.array([[0, 0, 1, 255]]), np.array([[0, VOID, VOID, VOID]]))
    counts = confusion.counts()
    assert counts.truth.tolist() == [2, 1]
    assert counts.predicted.tolist() == [1, 0]
    assert confusion.pixel_accuracy() == pytest.approx(1 / 3)
    assert confusion.miou() == pytest.approx((1 / 2 + 0) / 2)


def test_counts_survive_the_way_through_an_array():
    values = np.random.default_rng(0).integers(0, 9, (5, 3, 4))
    np.testing.assert_array_equal(ClassCounts.from_array(values).to_array(), values)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_torchmetrics(seed):
    """Per class, over the set: Jaccard index, F1, precision, recall, and micro accuracy."""
    functional = pytest.importorskip(
        "torchmetrics.functional.classification", reason="needs torchmetrics, of the extra dev"
    )
    import torch

    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 12))
    truth = rng.integers(0, classes, (3, 17, 19)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape))
    truth[rng.random(truth.shape) < 0.1] = 255
    confusion = Confusion(classes)
    confusion.add(truth, prediction)
    counts = confusion.counts()
    options = {"num_classes": classes, "average": None, "ignore_index": 255}
    pair = torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(truth.astype(np.int64))
    for name, values in (
        ("jaccard_index", counts.iou()),
        ("f1_score", counts.dice()),
        ("precision", counts.precision()),
        ("recall", counts.recall()),
    ):
        expected = getattr(functional, f"multiclass_{name}")(*pair, **options).numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-6, err_msg=name)  # theirs are float32
    accuracy = functional.multiclass_accuracy(*pair, num_classes=classes, average="micro", ignore_index=255)
    assert confusion.pixel_accuracy() == pytest.approx(accuracy.item(), rel=1e-6)
    matrix = functional.multiclass_confusion_matrix(*pair, num_classes=classes, ignore_index=255).numpy()
    np.testing.assert_array_equal(confusion.matrix, matrix)
