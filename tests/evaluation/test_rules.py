"""From probabilities to labels and masks, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.counts import VOID
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation import Rule, decide

P = np.array(
    [  # pixel:  0    1    2    3
        [[0.7, 0.2, 0.4, 0.55]],
        [[0.2, 0.3, 0.4, 0.6]],
        [[0.1, 0.5, 0.2, 0.9]],
    ],
    np.float32,
)


def test_argmax_gives_ties_to_the_larger_class():
    assert decide(P, Rule()).labels.tolist() == [[0, 2, 1, 2]]


def test_threshold_may_leave_out_or_overlap():
    masks = decide(P, Rule("threshold", output="masks", threshold=0.5)).masks
    assert masks[:, 0].tolist() == [
        [True, False, False, True],
        [False, False, False, True],
        [False, True, False, True],
    ]


@pytest.mark.parametrize(("unassigned", "third"), [("max_score", 1), ("void", VOID)])
def test_labels_by_a_threshold(unassigned, third):
    labels = decide(P, Rule("threshold", unassigned=unassigned)).labels
    assert labels.tolist() == [[0, 2, third, 2]]


@pytest.mark.parametrize("name", ["rankdice", "rankiou"])
def test_rank_labels_are_one_class_per_pixel(name):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 0.3), (12, 15)).transpose(2, 0, 1).astype(np.float32)
    masks = decide(p, Rule(name, output="masks")).masks
    labels = decide(p, Rule(name)).labels
    void = decide(p, Rule(name, unassigned="void")).labels
    count = masks.sum(axis=0)
    assert {0, 1, 2} <= set(count.ravel())
    only = count == 1
    np.testing.assert_array_equal(labels[only], masks.argmax(axis=0)[only])
    contested = count > 1
    assert np.take_along_axis(masks, labels[None].astype(int), 0)[0][contested].all()
    assert (void[count == 0] == VOID).all()
    np.testing.assert_array_equal(void[count > 0], labels[count > 0])
    assert (labels < 4).all()


def test_nothing_probable_falls_back_to_the_most_probable():
    flat = np.full((3, 2, 2), 1 / 3, np.float32)
    flat[1] += 0.01
    assert decide(flat, Rule("rankdice")).labels.tolist() == [[1, 1], [1, 1]]
    assert decide(flat, Rule("rankdice", unassigned="void")).labels.tolist() == [[VOID] * 2] * 2


def test_rounding_of_interpolated_probabilities_is_no_error():
    p = np.array([[[1 + 1e-7, 0.2]], [[-1e-7, 0.8]]], np.float32)
    for rule in (Rule(), Rule("threshold"), Rule("rankdice"), Rule("rankiou")):
        assert decide(p, rule).labels.tolist() == [[0, 1]]


@pytest.mark.parametrize("bad", [1.5, -0.1, np.nan, np.inf])
def test_what_is_no_probability_is_refused(bad):
    p = P.copy()
    p[1, 0, 2] = bad
    for rule in (Rule(), Rule("threshold"), Rule("rankdice")):
        with pytest.raises(DataError, match="not class probabilities"):
            decide(p, rule)
    with pytest.raises(DataError, match="not class probabilities"):
        decide(P[0], Rule())


@pytest.mark.parametrize(
    "values",
    [
        {"name": "best"},
        {"threshold": 1.5},
        {"name": "rankdice", "solver": "magic"},
        {"output": "masks"},
        {"name": "rankiou", "solver": "ba"},
        {"smooth": -1},
    ],
)
def test_rules_that_do_not_exist_are_refused(values):
    with pytest.raises(UsageError):
        Rule(**values)
