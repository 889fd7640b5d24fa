"""What every loss is held to alike: its derivative at all class counts and thin maps, and torch.compile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import rlossctl.losses as losses
from rlossctl.losses import GatedKernel
from rlossctl.losses.potts import RELAXATIONS

SHAPES = ((1, 1, 2, 3), (2, 2, 1, 4), (1, 21, 3, 1), (1, 150, 1, 2))


def size(prob: Tensor, labels: Tensor) -> Tensor:
    low, high = (prob.new_full((len(prob), 1), bound) for bound in (0.2, 0.3))
    return losses.size_loss(prob, [0], low, high, labels != 255)


def soft(prob: Tensor, labels: Tensor) -> Tensor:
    target = torch.full_like(prob, 1 / prob.shape[1]).detach()
    return losses.collision_cross_entropy_loss(prob, target, labels == 255)


def gated(image: Tensor, prob: Tensor, labels: Tensor) -> Tensor:
    return losses.gated_crf_loss(
        image, prob, (labels != 255).to(prob), kernels=[GatedKernel(1, 2, 90)], radius=2
    )


def mask(labels: Tensor, like: Tensor) -> Tensor:
    return (labels != 255).to(like).unsqueeze(1)


# Of scores, probabilities, labels and an image.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "focal": lambda s, p, y, i: losses.focal_loss(s, y),
    "binary": lambda s, p, y, i: losses.focal_loss(s, y, gamma=0, activation="sigmoid"),
    "dice": lambda s, p, y, i: losses.dice_loss(s, y, reduction="class"),
    "lovasz": lambda s, p, y, i: losses.lovasz_loss(s, y),
    "lovasz hinge": lambda s, p, y, i: losses.lovasz_loss(s[:, :1], y.where(y == 255, y % 2), form="hinge"),
    "entropy": lambda s, p, y, i: losses.entropy_loss(p, mask(y, p)),
    "size": lambda s, p, y, i: size(p, y),
    **{
        f"potts {name}": lambda s, p, y, i, name=name: losses.potts_loss(i, p, mask(y, p), name, 60, 8)
        for name in RELAXATIONS
    },
    "gated crf": lambda s, p, y, i: gated(i, p, y),
    "densecrf": lambda s, p, y, i: losses.densecrf_loss(i, p, mask(y, p), 20, 60, "exact"),
    "normalized cut": lambda s, p, y, i: losses.normalized_cut_loss(i, p, mask(y, p), 20, 60, "exact"),
    "tree": lambda s, p, y, i: losses.tree_energy_loss(i, p, y == 255, sigma=2e4),
    "tree of features": lambda s, p, y, i: losses.tree_energy_loss(i, p, y == 255, s[:, :1] / 4, 2e4),
    "collision": lambda s, p, y, i: soft(p, y),
}


@pytest.fixture
def sample(draw):
    """sample(N, C, h, w): scores that need a gradient, labels of which some are 255, an image 0..255."""

    def make(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
        scores, labels = draw(*shape)
        labels[0, -1, -1], labels[0, 0, 0] = 255, 0
        images, _, height, width = shape
        image = 255 * torch.rand((images, 3, height, width), generator=torch.Generator().manual_seed(6))
        return scores.requires_grad_(), labels, image.double()

    return make


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[1]} classes, {shape[2]} x {shape[3]}")
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_derivative(sample, name, shape):
    scores, labels, image = sample(*shape)
    assert torch.autograd.gradcheck(
        lambda s: LOSSES[name](s, s.softmax(1), labels, image), scores, fast_mode=True
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch.compile does it
@pytest.mark.parametrize("name", LOSSES)
def test_compiled_as_eager(sample, name):
    scores, labels, image = sample(2, 3, 4, 5)
    scores, image = scores.detach().float().requires_grad_(), image.float()

    def step(s: Tensor) -> Tensor:
        return LOSSES[name](s, s.softmax(1), labels, image)

    torch.compiler.reset()
    found = []
    for run in (step, torch.compile(step, backend="aot_eager", fullgraph=True)):
        loss = run(scores)
        found.append((loss, *torch.autograd.grad(loss, scores)))
    torch.testing.assert_close(*found)
