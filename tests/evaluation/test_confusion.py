"""The confusion matrix and its scores against an independent count and against Caffe's recordings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import DataError
from rlossctl.evaluation import Confusion
from rlossctl.evaluation.predicting.best import best_class


def independent(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int) -> dict:
    """The same scores from sets of pixels, class by class, without a matrix."""
    valid = truth != ignore
    iou, accuracy = [], []
    for c in range(classes):
        is_true = (truth == c) & valid
        is_predicted = (prediction == c) & valid
        both = np.count_nonzero(is_true & is_predicted)
        either = np.count_nonzero(is_true | is_predicted)
        iou.append(both / either if either else None)
        accuracy.append(both / np.count_nonzero(is_true) if is_true.any() else None)
    known = [value for value in iou if value is not None]
    recalls = [value for value in accuracy if value is not None]
    right = np.count_nonzero((truth == prediction) & valid)
    return {
        "iou": iou,
        "accuracy": accuracy,
        "miou": np.mean(known) if known else None,
        "mean_accuracy": np.mean(recalls) if recalls else None,
        "pixel_accuracy": right / valid.sum() if valid.any() else None,
        "caffe_iou": np.mean([1.0 if value is None else value for value in iou]),
    }


def close(value, expected) -> bool:
    return value is expected if expected is None else abs(value - expected) <= 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_an_independent_evaluation(seed):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, 25))
    present = int(rng.integers(1, classes + 1))  # the classes above never occur
    confusion = Confusion(classes)
    truths, predictions = [], []
    for _ in range(4):
        shape = tuple(rng.integers(1, 40, 2))
        truth = rng.integers(0, present, shape).astype(np.uint8)
        truth[rng.random(shape) < rng.random()] = 255
        prediction = rng.integers(0, present, shape).astype(np.uint8)
        confusion.add(truth, prediction)
        truths.append(truth.ravel())
        predictions.append(prediction.ravel())
    expected = independent(np.concatenate(truths), np.concatenate(predictions), classes, 255)
    scores = confusion.classes()
    assert all(close(score.iou, value) for score, value in zip(scores, expected["iou"], strict=True))
    assert all(
        close(score.accuracy, value) for score, value in zip(scores, expected["accuracy"], strict=True)
    )
    assert close(confusion.miou(), expected["miou"])
    assert close(confusion.mean_accuracy(), expected["mean_accuracy"])
    assert close(confusion.pixel_accuracy(), expected["pixel_accuracy"])
    assert close(confusion.caffe_scores().mean_iou, expected["caffe_iou"])
    assert sum(score.pixels for score in scores) + confusion.ignored == sum(map(len, truths))


@pytest.mark.parametrize("name", ["seg_accuracy", "seg_accuracy_accumulate3", "seg_accuracy_ties"])
def test_caffe_scores_are_those_that_caffe_recorded(golden, name):
    case = np.load(golden / "layers" / f"{name}.npz")
    scores, labels = case["bottom/x"], case["bottom/t"]
    confusion = Confusion(scores.shape[1])
    for image_scores, label in zip(scores, labels, strict=True):
        confusion.add(label[0].astype(np.uint8), best_class(image_scores))
    caffe = confusion.caffe_scores()
    got = [caffe.pixel_accuracy, caffe.mean_recall, caffe.mean_iou]
    np.testing.assert_allclose(got, case["top/acc"].ravel(), rtol=1e-6)


def test_equal_scores_go_to_the_larger_class():
    scores = np.zeros((4, 1, 3), np.float32)
    scores[:, 0, 1] = [2, 1, 2, 1]
    scores[:, 0, 2] = [3, 1, 2, 1]
    assert best_class(scores).tolist() == [[3, 2, 0]]


def test_absent_classes_are_skipped_here_and_count_one_in_caffe():
    confusion = Confusion(4)
    confusion.add(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]]))
    assert confusion.miou() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert confusion.caffe_scores().mean_iou == pytest.approx((1 / 2 + 2 / 3 + 1 + 1) / 4)
    assert [score.iou for score in confusion.classes()][2:] == [None, None]


def test_a_class_that_is_only_predicted_counts_zero():
    confusion = Confusion(2)
    confusion.add(np.array([[0, 0]]), np.array([[0, 1]]))
    assert confusion.classes()[1].iou == 0.0
    assert confusion.classes()[1].accuracy is None
    assert confusion.miou() == pytest.approx(0.25)
    assert confusion.mean_accuracy() == pytest.approx(0.5)


def test_all_ignored_gives_no_number_and_no_nan():
    confusion = Confusion(3)
    confusion.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert (confusion.miou(), confusion.pixel_accuracy(), confusion.mean_accuracy()) == (None, None, None)
    caffe = confusion.caffe_scores()
    assert (caffe.pixel_accuracy, caffe.mean_recall, caffe.mean_iou) == (0.0, 0.0, 1.0)
    assert confusion.ignored == 4


def test_another_ignore_label():
    confusion = Confusion(11, ignore=11)
    confusion.add(np.array([[11, 3]]), np.array([[0, 3]]))
    assert confusion.pixel_accuracy() == 1.0


def test_merge_adds_the_parts_of_a_set():
    whole, left, right = Confusion(3), Confusion(3), Confusion(3)
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 8, 8))
    whole.add(truth, prediction)
    left.add(truth[:5], prediction[:5])
    right.add(truth[5:], prediction[5:])
    left.merge(right)
    np.testing.assert_array_equal(left.matrix, whole.matrix)


def test_ids_out_of_range_are_named():
    confusion = Confusion(3)
    with pytest.raises(DataError, match=r"labels/a\.png.*\n.*7, 9") as caught:
        confusion.add(np.array([[0, 7, 9]]), np.array([[0, 0, 0]]), "labels/a.png")
    assert "0..2" in str(caught.value)
    assert confusion.matrix.sum() == 0
    with pytest.raises(DataError, match="prediction"):
        confusion.add(np.array([[0]]), np.array([[3]]))


def test_sizes_must_agree():
    with pytest.raises(DataError, match=r"\(2, 2\).*\(2, 3\)"):
        Confusion(2).add(np.zeros((2, 2), int), np.zeros((2, 3), int))


@pytest.mark.parametrize("wrong", [300, -1, 256, 1000])
def test_ids_that_are_no_bytes_are_refused(wrong):
    """With 255 classes 254 is one of them: nothing may be folded into it."""
    confusion = Confusion(255)
    with pytest.raises(DataError, match="label ids out of range") as caught:
        confusion.add(np.array([[0, wrong, 1]]), np.array([[0, 0, 1]]), "labels/a.png")
    assert caught.value.where == "labels/a.png"
    assert caught.value.found == f"{wrong} (1 of 3 pixels)"
    assert caught.value.expected == "0..254, or 255 for unlabelled"
    with pytest.raises(DataError, match="prediction for this image") as caught:
        confusion.add(np.array([[0, 0, 1]]), np.array([[0, wrong, 1]]))
    assert caught.value.found == f"{wrong} (1 of 3 pixels)"
    assert confusion.matrix.sum() == confusion.ignored == 0


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_fractions_are_no_ids(wrong):
    with pytest.raises(DataError, match="not whole numbers") as caught:
        Confusion(3).add(np.array([0.0, wrong]), np.array([0, 0]), "a.npy")
    assert caught.value.where == "a.npy"


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
def test_ids_of_every_number_type_count_alike(kind):
    """What is predicted where the truth is ignored is nobody's business."""
    confusion = Confusion(255)
    confusion.add(np.array([254, 255, 255, 0, 3]).astype(kind), np.array([254, -1, 300, 255, 3]))
    assert (confusion.matrix[254, 254], confusion.matrix[3, 3], confusion.matrix.sum()) == (1, 1, 2)
    assert (confusion.ignored, confusion.unassigned[0]) == (2, 1)


def test_an_ignore_label_that_is_no_byte_is_refused():
    with pytest.raises(ValueError, match="ignore must be 0 to 255"):
        Confusion(3, ignore=-1)


METRICS = """input: "x" input_shape { dim: 2 dim: 6 dim: 9 dim: 8 }
    input: "t" input_shape { dim: 2 dim: 1 dim: 9 dim: 8 }
    layer { name: "seg" type: "SegAccuracy" bottom: "x" bottom: "t" top: "seg"
      seg_accuracy_param { ignore_label: 255 } }
    layer { name: "acc" type: "Accuracy" bottom: "x" bottom: "t" top: "all" top: "each"
      accuracy_param { ignore_label: 255 } }"""


@pytest.mark.parametrize("seed", range(5))
def test_the_layer_of_a_prototxt_and_eval_have_one_rule(seed, build):
    """SegAccuracy and Accuracy in a net, and Confusion: the same figures, absent classes included."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((2, 6, 9, 8)).astype(np.float32)
    scores[:, 4:] -= 100  # these are never predicted, and the last one is in no label either
    labels = rng.integers(0, 5, (2, 9, 8)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    confusion = Confusion(6)
    for image, truth in zip(scores, labels, strict=True):
        confusion.add(truth, best_class(image))
    net = build(METRICS, "TEST")
    outputs = net(x=torch.from_numpy(scores), t=torch.from_numpy(labels[:, None].astype(np.float32)))
    caffe = confusion.caffe_scores()
    expected = [caffe.pixel_accuracy, caffe.mean_recall, caffe.mean_iou]
    np.testing.assert_allclose(outputs["seg"].flatten(), expected, rtol=1e-7)
    np.testing.assert_allclose(outputs["all"], caffe.pixel_accuracy, rtol=1e-7)
    recalls = [score.accuracy or 0.0 for score in confusion.classes()]
    np.testing.assert_allclose(outputs["each"], recalls, rtol=1e-7)


@pytest.mark.slow
def test_metrics_are_the_same_when_they_are_compiled(build):
    net = build(METRICS, "TEST")
    torch.manual_seed(2)
    scores, labels = torch.randn(2, 6, 9, 8), torch.randint(0, 5, (2, 1, 9, 8)).float()
    for layer in net.layers:
        compiled = torch.compile(layer.module, backend="eager")
        torch.testing.assert_close(compiled(scores, labels), layer.module(scores, labels), rtol=0, atol=0)
