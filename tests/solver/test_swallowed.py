"""Classes that tests stop finding: the warning above the figures, once, and the lines at the end."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.counts import ClassCounts
from rlossctl.solver.scoring.swallowed import Area, Swallowed, missing
from rlossctl.solver.telling.figures import Improved, TestFigures
from rlossctl.solver.telling.log import Log

NET = """
input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
layer { name: "fc" type: "Convolution" bottom: "x" top: "fc"
  convolution_param { num_output: 3 kernel_size: 1 } }
"""
REGULARIZER = """
layer { name: "softmax" type: "Softmax" bottom: "fc" top: "softmax" }
layer { name: "crf" type: "DenseCRFLoss" bottom: "x" bottom: "softmax" top: "crf" loss_weight: 1
  densecrf_loss_param { bi_xy_std: 2 bi_rgb_std: 3 } }
"""
TRUTH = (9000, 900, 100, 5)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watch(build, told: list[str]) -> Swallowed:
    return Swallowed(Log([told.append]), build(NET))


def shares(iteration: int, *predicted: int, net: int = 0) -> TestFigures:
    truth = np.array(TRUTH)
    counts = ClassCounts(np.minimum(truth, predicted), truth, np.array(predicted))
    return TestFigures(iteration, net, None, {"mIoU": [0.5]}, ("mIoU",), counts)


def test_a_class_that_was_found_is_named_once(watch: Swallowed, told: list[str]) -> None:
    watch.tested(shares(0, 10005, 0, 0, 0))  # nothing is learned yet
    watch.tested(shares(10, 9100, 905, 0, 0))
    assert not told
    watch.tested(shares(20, 9995, 10, 0, 0))
    (line,) = told
    assert line.startswith("W")
    for part in ("Iteration 20: class 1", "0.10% of the pixels", "9.05% after 10 iterations", "9.00% in the"):
        assert part in line
    watch.tested(shares(30, 9100, 905, 0, 0))
    watch.tested(shares(40, 9995, 10, 0, 0))
    assert len(told) == 1


@pytest.mark.parametrize(
    "tests",
    [
        [shares(10, 9100, 905, 0, 0), shares(20, 9985, 20, 0, 0)],  # 2.2 % of it are left
        [shares(10, 9000, 900, 0, 105), shares(20, 9000, 1005, 0, 0)],  # five pixels of 10,005 in the labels
        [shares(10, 9600, 405, 0, 0), shares(20, 10005, 0, 0, 0)],  # it was not found before
        [shares(10, 9100, 905, 0, 0), shares(10, 10005, 0, 0, 0, net=1)],  # another net
    ],
)
def test_what_is_no_loss_is_not_named(watch: Swallowed, told: list[str], tests: list[TestFigures]) -> None:
    for one in tests:
        watch.tested(one)
    assert not told


def test_a_regularizer_is_suspected_where_there_is_one(build, told: list[str]) -> None:
    watch = Swallowed(Log([told.append]), build(NET + REGULARIZER))
    watch.tested(shares(10, 9100, 905, 0, 0))
    watch.tested(shares(20, 10005, 0, 0, 0))
    assert "lower the regularizer's loss_weight" in told[0]


def test_the_best_and_the_last_test_are_kept(watch: Swallowed) -> None:
    watch.tested(shares(10, 9000, 1005, 0, 0))
    watch.improved(Improved(10, "mIoU", 0.5, None))
    watch.tested(shares(20, 9900, 5, 100, 0))
    assert missing(watch.best) == "2 (0.00%, true 1.00%)"
    assert missing(watch.last) == "1 (0.05%, true 9.00%)"
    assert missing(()) is None
    assert missing([Area(0.1, 0)] * 8).endswith("5 (0.00%, true 10.00%) and 2 more")
    watch.tested(shares(30, 10005, 0, 0, 0))
    assert missing(watch.last) == "1 (0.00%, true 9.00%), 2 (0.00%, true 1.00%)"
