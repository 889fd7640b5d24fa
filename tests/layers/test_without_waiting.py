"""What replaces waits on a GPU: its results are those of the code that runs on a CPU."""

from __future__ import annotations

import pytest
import torch

from rlossctl.counts import caffe_scores
from rlossctl.layers.interp import Resized, resized
from rlossctl.layers.metric import _class_counts, device_scores


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize(("size", "out"), [((5, 7), (33, 49)), ((9, 6), (4, 3)), ((1, 3), (8, 3))])
def test_the_gradient_of_resizing_as_products(size, out, corners) -> None:
    x = torch.randn(2, 3, *size, requires_grad=True)
    upstream = torch.randn(2, 3, *out)
    y = Resized.apply(x, out, corners)
    assert torch.equal(y, resized(x, out, corners))
    (expected,) = torch.autograd.grad(resized(x, out, corners), x, upstream)
    (found,) = torch.autograd.grad(y, x, upstream)
    assert (found - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("empty", [0, 2, 5])
def test_scores_of_counts_on_their_device(empty) -> None:
    confusion = torch.randint(0, 50, (5, 5))
    confusion[:empty] = 0
    confusion[:, :empty] = 0
    found = caffe_scores(_class_counts(confusion))
    values = [found.pixel_accuracy, found.mean_recall, found.mean_iou]
    assert device_scores(confusion).tolist() == pytest.approx(values, rel=1e-12)
