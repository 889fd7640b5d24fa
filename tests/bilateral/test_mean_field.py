"""Mean-field inference without a prototxt (the recorded cases are in tests/layers/test_crf.py)."""

from __future__ import annotations

import pytest
import torch

from rlossctl.bilateral import bilateral_filter, mean_field
from rlossctl.errors import NetError

POS, BI = [(3, 2.0)], [(20, 15, 4.0)]


@pytest.fixture
def sample() -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [2, 3, 16, 18] and image [2, 3, 16, 18] of 0..255, dark on the left."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 16, 18, generator=generator) * 20
    image[..., 9:] += 200
    return torch.randn(2, 3, 16, 18, generator=generator), image


def test_one_iteration_is_the_formula(sample) -> None:
    scores, image = (tensor.double() for tensor in sample)
    q, ones = scores.softmax(1), torch.ones_like(scores[:, :1])
    energy = scores
    for colours, xy, rgb, weight in ((image[:, :0], 3, 1, 2.0), (image, 20, 15, 4.0)):
        kernel = colours, xy, rgb
        energy = energy + weight * bilateral_filter(q, *kernel) / bilateral_filter(ones, *kernel)
    torch.testing.assert_close(mean_field(scores, image, 1, pos=POS, bi=BI), energy.softmax(1))


def test_log_probabilities_do_as_well_as_scores(sample) -> None:
    scores, image = sample
    expected = mean_field(scores, image, 3, bi=BI)
    torch.testing.assert_close(mean_field(scores.log_softmax(1), image, 3, bi=BI), expected)


def test_follows_the_edge_of_the_image() -> None:
    image = torch.zeros(1, 3, 12, 16)
    image[..., 8:] = 200
    scores = torch.zeros(1, 2, 12, 16)
    scores[0, 0, :, :3] = scores[0, 1, :, -3:] = 2  # only the outer columns know their class
    q = mean_field(scores, image, 10, bi=[(20, 10, 10.0)])
    assert q.argmax(1).eq((image[:, 0] > 0).long()).all() and q.amax(1).min() > 0.9


def test_rows_are_probabilities_and_nothing_is_recorded(sample) -> None:
    scores, image = sample
    q = mean_field(scores.half().requires_grad_(), image, 2, pos=POS, bi=BI)
    assert q.dtype == torch.float32 and not q.requires_grad
    torch.testing.assert_close(q.sum(1), torch.ones(2, 16, 18))


def test_without_potentials_or_iterations_it_is_the_softmax(sample) -> None:
    scores, image = sample
    torch.testing.assert_close(mean_field(scores), scores.softmax(1))
    torch.testing.assert_close(mean_field(scores, image, 0, bi=BI), scores.softmax(1))


@pytest.mark.parametrize(
    ("scores", "image", "options", "words"),
    [
        (torch.zeros(1, 2, 4, 4), None, {"bi": BI}, "need an image"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 5), {"bi": BI}, "do not fit"),
        (torch.zeros(2, 4, 4), None, {}, "cannot be used"),
        (torch.zeros(1, 2, 4, 4), None, {"iterations": -1}, "iterations"),
        (torch.zeros(1, 2, 4, 4), None, {"pos": [(0, 1.0)]}, "standard deviation"),
    ],
)
def test_refusals(scores, image, options, words) -> None:
    with pytest.raises(NetError, match=words):
        mean_field(scores, image, **options)
