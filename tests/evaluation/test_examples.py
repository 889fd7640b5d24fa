"""Which images a report shows."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.counts import ClassCounts
from rlossctl.evaluation.reporting.examples import choose, image_scores

NAN = np.nan


@pytest.mark.parametrize(
    "scores, count, chosen",
    [
        ([0.5, 0.1, 0.9, 0.3, 0.7], 4, [1, 2, 3, 4]),
        ([0.5, 0.1, 0.9, 0.3, 0.7], 3, [1, 2, 3]),
        ([0.5, 0.1, 0.9, 0.3, 0.7], 1, [1]),
        ([0.5, 0.1, 0.9], 0, []),
        ([0.5, NAN, 0.9, NAN], 3, [0, 2]),
        ([0.5, NAN, 0.9, 0.1, NAN], 2, [2, 3]),
        ([0.4, 0.4, 0.4, 0.4], 2, [0, 3]),
        ([], 5, []),
    ],
)
def test_half_are_the_worst_and_half_the_best(scores, count, chosen):
    assert choose(np.array(scores, dtype=np.float64), count) == chosen


def test_an_image_s_score_is_the_mean_iou_of_its_classes():
    counts = ClassCounts(
        hits=np.array([[8, 0, 0], [0, 0, 0], [5, 0, 0]]),
        truth=np.array([[10, 2, 0], [0, 0, 0], [5, 0, 0]]),
        predicted=np.array([[9, 0, 3], [0, 0, 0], [5, 0, 0]]),
    )
    np.testing.assert_allclose(image_scores(counts), [(8 / 11 + 0 + 0) / 3, NAN, 1])
    np.testing.assert_allclose(image_scores(counts, [0, 1]), [(8 / 11) / 2, NAN, 1])
