"""Carrying a loss weight from one mode to another."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import DenseCRFLoss, compare_modes, densecrf_loss, weight_factor


@pytest.fixture
def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image of soft patches 0..255 [1, 3, 40, 40], softmax scores [1, 4, 40, 40], mask [1, 1, 40, 40]."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(1, 7, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(40, 40), mode="bicubic")
    image = (smooth[:, :3] * 230 + 10 * torch.rand(1, 3, 40, 40, generator=generator)).clamp(0, 255)
    return image, (8 * smooth[:, 3:]).softmax(1), torch.ones(1, 1, 40, 40)


@pytest.mark.parametrize("new", ["exact", "symmetric"])
def test_the_carried_weight_keeps_the_weighted_loss(sample, new) -> None:
    image, seg, mask = sample
    factor = weight_factor(image, seg, mask, 20, 15, new=new)
    before = DenseCRFLoss(2e-4, 15, 20, 1.0)(image, seg, mask)
    after = DenseCRFLoss(2e-4 * factor, 15, 20, 1.0, mode=new)(image, seg, mask)
    torch.testing.assert_close(after, before)
    assert weight_factor(image, seg, mask, 20, 15, new, "lattice") == pytest.approx(1 / factor)


def test_the_lattice_is_about_six_tenths_of_the_sum(sample) -> None:
    image, seg, mask = sample
    assert 0.4 < weight_factor(image, seg, mask, 20, 15) < 0.7
    assert weight_factor(image, seg, mask, 20, 15, new="symmetric") == pytest.approx(1, rel=1e-4)


def test_figures_are_what_they_say(sample) -> None:
    image, seg, mask = sample
    comparison = compare_modes(image, seg, mask, 20, 15)
    soft = seg.clone().requires_grad_()
    gradients = {
        mode: torch.autograd.grad(densecrf_loss(image, soft, mask, 20, 15, mode), soft)[0]
        for mode in comparison.modes
    }
    given = gradients["lattice"]
    for mode, figures in comparison.modes.items():
        assert figures.loss == densecrf_loss(image, seg, mask, 20, 15, mode).item()
        rest = given - figures.factor * gradients[mode]
        assert figures.residual == pytest.approx((rest.norm() / given.norm()).item())
    assert comparison.modes["lattice"].residual == 0 and comparison.modes["lattice"].factor == 1
    derivative = gradients["symmetric"]
    asymmetry = ((given - derivative).norm() / derivative.norm()).item()
    assert comparison.asymmetry == pytest.approx(asymmetry) and asymmetry > 1e-4


def test_nothing_to_compare(sample) -> None:
    image, seg, mask = sample
    with pytest.raises(NetError, match="loss of 0"):
        weight_factor(image, seg, torch.zeros_like(mask), 20, 15)
