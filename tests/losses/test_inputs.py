"""Inputs of the DenseCRF loss that can hardly be meant: one warning each."""

from __future__ import annotations

import warnings

import pytest
import torch

from rlossctl.losses import DenseCRFLoss, LossInputWarning
from rlossctl.losses.inputs import LOOKS


@pytest.fixture
def image() -> torch.Tensor:
    return (torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0)) * 255).round()


@pytest.fixture
def prob() -> torch.Tensor:
    return torch.randn(1, 2, 8, 9, generator=torch.Generator().manual_seed(1)).softmax(1)


def told(
    loss: DenseCRFLoss, image: torch.Tensor, prob: torch.Tensor, calls: int = LOOKS + 2, roi=None
) -> list[str]:
    mask = torch.ones(1, 8, 9) if roi is None else roi
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(calls):
            loss(image, prob, mask)
    assert all(entry.category is LossInputWarning for entry in caught)
    return [str(entry.message) for entry in caught]


def test_usual_inputs_are_not_commented_on(image, prob) -> None:
    assert told(DenseCRFLoss(1.0, 15.0, 50.0, 1.0), image, prob) == []
    assert told(DenseCRFLoss(1.0, 15.0, 50.0, 0.5), image - 110, prob) == []
    assert told(DenseCRFLoss(1.0, 0.1, 50.0, 1.0), image / 255, prob) == []
    assert told(DenseCRFLoss(1.0, 15.0, 50.0, 1.0), torch.zeros_like(image), prob) == []


@pytest.mark.parametrize("change", [lambda x: x / 255, lambda x: (x / 255 - 0.45) / 0.225])
def test_an_image_that_is_scaled_or_normalised(image, prob, change) -> None:
    (text,) = told(DenseCRFLoss(1.0, 15.0, 50.0, 1.0), change(image), prob)
    assert "less than the standard deviation in colour (sigma_rgb 15)" in text


@pytest.mark.parametrize("change", [lambda p: p.log(), lambda p: 2 * p, lambda p: p.new_zeros(p.shape)])
def test_scores_that_are_no_distribution(image, prob, change) -> None:
    (text,) = told(DenseCRFLoss(1.0, 15.0, 50.0, 1.0), image, change(prob))
    assert "the scores of 100% of the pixels do not sum to 1" in text


def test_scores_outside_the_roi_do_not_count(image, prob) -> None:
    roi = torch.ones(1, 8, 9)
    roi[:, :, 4:] = 0
    assert told(DenseCRFLoss(1.0, 15.0, 50.0, 1.0), image, prob * roi[:, None], roi=roi) == []


def test_an_empty_roi(image, prob) -> None:
    (text,) = told(DenseCRFLoss(1.0, 15.0, 50.0, 1.0), image, prob, roi=torch.zeros(1, 8, 9))
    assert "the mask is empty" in text


def test_only_the_first_calls_are_looked_at(image, prob, monkeypatch) -> None:
    loss = DenseCRFLoss(1.0, 15.0, 50.0, 1.0)
    assert told(loss, image, prob, LOOKS) == []
    monkeypatch.setattr(torch.Tensor, "item", lambda _self: pytest.fail("a later call waited for the device"))
    loss._inputs.look(image / 255, prob, torch.ones(1, 1, 8, 9))


def test_the_numbers_are_the_same(image, prob) -> None:
    loss = DenseCRFLoss(1.0, 15.0, 50.0, 1.0)
    values = {loss(image, prob, torch.ones(1, 8, 9)).item() for _ in range(LOOKS + 2)}
    assert len(values) == 1
