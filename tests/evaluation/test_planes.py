"""The native softmax, sums and labels of the rank rules against their numpy twins."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError, NetError
from rlossctl.evaluation import Protocol, Rule, decide
from rlossctl.evaluation.predicting import best, planes, rank, rules, screening
from rlossctl.evaluation.predicting.averaging import Averaging, activate
from rlossctl.evaluation.predicting.moments import Sums
from rlossctl.evaluation.predicting.planes import Softmax
from rlossctl.evaluation.predicting.rules import decide_by_rank
from rlossctl.evaluation.predicting.views import View

pytestmark = pytest.mark.skipif(best.kernel() is None, reason="no native kernel")

# classes, size of the scores, of the padded picture, of the picture
SIZES = [
    (2, (1, 1), (1, 1), (1, 1)),
    (21, (1, 1), (1, 1), (1, 1)),
    (1, (4, 7), (4, 49), (1, 33)),
    (2, (36, 48), (36, 48), (36, 48)),
    (11, (9, 8), (65, 57), (60, 50)),
    (21, (41, 41), (33, 70), (33, 51)),
    (150, (5, 4), (17, 16), (9, 16)),
]
RULES = [
    Rule("rankdice"),
    Rule("rankiou"),
    Rule("rankdice", prune=0.3, unassigned="void"),
    Rule("rankiou", prune=0.3, smooth=1.0),
    Rule("rankiou", "masks", solver="rma"),
]


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch) -> None:
    monkeypatch.setattr(best, "_SCORES_OF_A_THREAD", 1)
    monkeypatch.setattr(best, "cpu_threads", lambda: request.param)


def view(size: tuple[int, int], keep: tuple[int, int]) -> View:
    return View(lambda: np.zeros(0), size, keep, keep)


def draw(classes: int, size: tuple[int, int], spread: float = 4.0) -> np.ndarray:
    scores = np.random.default_rng([classes, *size]).normal(size=(classes, *size)) * spread
    scores[:, ::3] = np.round(scores[:, ::3])  # with ties
    return scores.astype(np.float32)


def stored(softmax: Softmax) -> np.ndarray:
    return np.stack([softmax[index] for index in range(softmax.shape[0])])


def without_kernel(monkeypatch) -> None:
    for module in (best, planes, rank):
        monkeypatch.setattr(module, "kernel", lambda: None)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize(("classes", "given", "size", "keep"), SIZES)
def test_probabilities_are_the_twins(threads, temperature, classes, given, size, keep) -> None:
    """To rounding: numpy's exponential has other last bits on some processors."""
    scores, own = draw(classes, given, 30.0), view(size, keep)
    scores[0, 0, 0] = -500  # powers that are denormal, or 0
    softmax = Softmax(own, scores, temperature, best.kernel())
    assert softmax.finite
    assert softmax.negative == (own.enlarged(scores).min() < 0)
    expected = activate(own.enlarged(scores), Protocol(activation="softmax", temperature=temperature))
    np.testing.assert_allclose(stored(softmax), expected, rtol=2e-6, atol=1e-37)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("classes", "given", "size", "keep"), SIZES)
def test_decisions_are_the_twins(threads, monkeypatch, rule, classes, given, size, keep) -> None:
    """Bit for bit, from the same probabilities: from a view, from an array, and without the kernel."""
    softmax = Softmax(view(size, keep), draw(classes, given), 1.0, best.kernel())
    p = stored(softmax)
    valid = np.random.default_rng(0).random(keep) < 0.8
    found = [(decide_by_rank(softmax, rule, pixels), decide(p, rule, pixels)) for pixels in (None, valid)]
    without_kernel(monkeypatch)
    for pair, pixels in zip(found, (None, valid), strict=True):
        expected = decide(p, rule, pixels)
        for one in pair:
            np.testing.assert_array_equal(one.labels, expected.labels)
            np.testing.assert_array_equal(one.masks, expected.masks)


@pytest.mark.parametrize("unassigned", ["max_score", "void"])
def test_labels_by_a_threshold_are_the_twins(threads, monkeypatch, unassigned) -> None:
    p = stored(Softmax(view((30, 40), (30, 40)), draw(7, (30, 40), 1.0), 1.0, best.kernel()))
    rule = Rule("threshold", threshold=0.3, unassigned=unassigned)
    found = decide(p, rule).labels
    without_kernel(monkeypatch)
    np.testing.assert_array_equal(found, decide(p, rule).labels)


@pytest.mark.parametrize("bins", screening.BINS, ids=str)
@pytest.mark.parametrize("size", [1, 63, 64, 1000])
def test_sums_of_bins_are_those_of_their_pixels(bins, size) -> None:
    rng = np.random.default_rng(size)
    p = rng.beta(0.1, 1, size).astype(np.float32)
    p[: size // 3] = np.sort(p[: size // 3])  # neighbours in one bin
    p[-1] = 1 + 0.9 * rules.SLACK
    sums = bins.sums(p, best.kernel())
    np.testing.assert_array_equal(sums.total().words, Sums.of_prefixes(p)[-1].words)
    for index in np.flatnonzero(sums.sizes):
        low, high = bins.span(index, index)
        own = Sums.of_prefixes(p[(p >= low) & (p < high)])[-1]
        assert own.sizes == sums.sizes[index]
        np.testing.assert_array_equal(own.words, sums.words[:, :, index])


def averaging() -> Averaging:
    return Averaging(Protocol(activation="softmax"), Preprocess(), 3)


def test_scores_that_are_not_numbers_are_refused() -> None:
    """In the padding, too, as where all probabilities are in memory."""
    scores, own, photo = draw(3, (4, 4)), view((7, 7), (5, 7)), np.zeros((5, 7, 3), np.uint8)
    scores[1, 3, 3] = np.nan
    for call in (
        lambda: averaging().planes(photo, own, scores),
        lambda: averaging().probabilities(photo, [own], [scores]),
    ):
        with pytest.raises(NetError, match="not numbers"):
            call()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("size", [(4, 4), (7, 7)])
def test_infinite_scores_are_left_to_the_twin(value, size) -> None:
    """-inf is a probability of 0, unless it is enlarged; +inf has no softmax."""
    scores, photo = draw(3, (4, 4)), np.zeros((*size, 3), np.uint8)
    scores[1, 2, 2] = value
    own = view(size, size)
    found = averaging().planes(photo, own, scores)
    assert (found is not None) == (value < 0 and size == (4, 4))
    with np.errstate(invalid="ignore"):
        p = averaging().probabilities(photo, [own], [scores])
    if found is None:
        with pytest.raises(DataError, match="not class probabilities"):
            decide(p, Rule("rankdice"))
    else:
        np.testing.assert_array_equal(
            decide_by_rank(found, Rule("rankdice")).labels, decide(p, Rule("rankdice")).labels
        )


def test_probabilities_in_place_of_scores_are_refused() -> None:
    p = np.full((4, 6, 5), 0.25, np.float32)
    with pytest.raises(NetError, match="already probabilities"):
        averaging().planes(np.zeros((6, 5, 3), np.uint8), view((6, 5), (6, 5)), p)
    assert averaging().planes(np.zeros((6, 5, 3), np.uint8), view((6, 5), (6, 5)), 8 * p) is not None
