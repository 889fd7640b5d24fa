"""EuclideanLoss and ContrastiveLoss where no recording exists."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

PAIRS = """
input: "a" input_shape { dim: 2 dim: 3 }
input: "b" input_shape { dim: 2 dim: 3 }
input: "t" input_shape { dim: 2 }
layer { name: "l" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "t" top: "loss" }
"""


def test_a_pair_that_differs_in_nothing_has_a_finite_gradient(build):
    a = torch.ones((2, 3), requires_grad=True)
    loss = build(PAIRS).run({"a": a, "b": torch.ones((2, 3)), "t": torch.tensor([0.0, 1.0])}).loss
    loss.backward()
    assert loss.item() == pytest.approx(0.25)  # margin^2 / 2N
    assert (a.grad == 0).all()


def test_a_label_counts_by_its_whole_part(build):
    inputs = {"a": torch.ones(2, 3), "b": torch.zeros(2, 3)}
    alike = build(PAIRS).run(inputs | {"t": torch.tensor([1.5, -1.0])}).loss
    apart = build(PAIRS).run(inputs | {"t": torch.tensor([0.9, -0.9])}).loss
    assert alike.item() == pytest.approx(1.5) and apart.item() == 0


def test_vectors_only(build):
    with pytest.raises(NetError, match="blobs of vectors"):
        build(PAIRS.replace("dim: 2 dim: 3", "dim: 2 dim: 3 dim: 2"))


def test_euclidean_sizes_that_differ(build):
    text = PAIRS.replace('type: "ContrastiveLoss"', 'type: "EuclideanLoss"').replace('bottom: "t" top', "top")
    text = text.replace('input: "t" input_shape { dim: 2 }', "")
    with pytest.raises(NetError, match="same batch size and count"):
        build(text.replace('"b" input_shape { dim: 2 dim: 3', '"b" input_shape { dim: 3 dim: 2'))
