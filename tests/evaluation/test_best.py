"""The native best class and its counts against the numpy twins, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.counts import byte_pairs
from rlossctl.errors import NetError
from rlossctl.evaluation.predicting import best
from rlossctl.evaluation.predicting.views import View

# classes, size of the scores, of the padded picture, of the picture
SIZES = [
    (3, (9, 8), (65, 57), (60, 50)),
    (11, (36, 48), (36, 48), (36, 48)),
    (21, (41, 41), (33, 70), (33, 51)),
    (255, (5, 4), (17, 16), (9, 16)),
    (2, (1, 1), (3, 5), (3, 5)),
    (1, (4, 7), (4, 49), (1, 33)),
]


@pytest.fixture(params=["native", "twin"])
def kernel(request, monkeypatch) -> None:
    if request.param == "twin":
        monkeypatch.setattr(best, "kernel", lambda: None)
    elif best.kernel() is None:
        pytest.skip("no native kernel")


def view(size: tuple[int, int], keep: tuple[int, int]) -> View:
    return View(lambda: np.zeros(0), size, keep, keep)


@pytest.mark.parametrize(("classes", "given", "size", "keep"), SIZES)
@pytest.mark.parametrize("threads", [1, 3])
def test_labels_and_counts_are_the_twins(kernel, monkeypatch, threads, classes, given, size, keep) -> None:
    monkeypatch.setattr(best, "_SCORES_OF_A_THREAD", 1)
    monkeypatch.setattr(best, "cpu_threads", lambda: threads)
    rng = np.random.default_rng(classes)
    scores = rng.normal(size=(classes, *given)).astype(np.float32)
    scores[:, ::2] = np.round(scores[:, ::2])  # with ties
    scores[:, 0, 0] = -np.inf
    truth = rng.integers(0, 256, keep).astype(np.uint8)
    own = view(size, keep)
    with np.errstate(invalid="ignore"):
        enlarged = own.enlarged(scores)
    if np.isnan(enlarged).any():  # infinite, and enlarged: infinity times a weight of 0
        scores[:, 0, 0] = -9
        enlarged = own.enlarged(scores)
    expected = best.best_class(enlarged)
    np.testing.assert_array_equal(best.best_of_view(own, scores), expected)
    np.testing.assert_array_equal(
        best.pairs_of_view(own, scores, truth), byte_pairs(truth, expected)[:, :classes]
    )


def test_the_larger_id_wins_among_equals(kernel) -> None:
    scores = np.zeros((4, 1, 3), np.float32)
    scores[:, 0, 1], scores[3, 0, 2] = [1, 2, 2, 0], -1
    assert best.best_of_view(view((1, 3), (1, 3)), scores).tolist() == [[3, 2, 2]]


@pytest.mark.parametrize("where", [0, 2])
def test_scores_that_are_not_numbers_are_refused(kernel, where) -> None:
    scores = np.zeros((3, 4, 4), np.float32)
    scores[where, 3, 3] = np.nan
    own, truth = view((7, 7), (7, 7)), np.zeros((7, 7), np.uint8)
    for call in (lambda: best.best_of_view(own, scores), lambda: best.pairs_of_view(own, scores, truth)):
        with pytest.raises(NetError, match="not numbers"):
            call()
    assert (best.best_of_view(view((7, 7), (2, 2)), scores) == 2).all()  # padding may be anything
