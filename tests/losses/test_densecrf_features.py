"""The DenseCRF loss with features beside place and colour: the sum over all pairs, gradients, the layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rlossctl.bilateral.choice import VARIABLE
from rlossctl.errors import NetError
from rlossctl.losses import densecrf_loss
from rlossctl.losses.densecrf_features import Features

SIGMAS = 3.0, 20.0


def inputs(
    features: int = 1, colours: int = 3
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, softmax scores, mask and depth of two pictures of 5 x 6 pixels."""
    generator = torch.Generator().manual_seed(features)
    image = torch.rand(2, colours, 5, 6, generator=generator) * 60
    seg = torch.rand(2, 4, 5, 6, generator=generator).softmax(1)
    mask = (torch.rand(2, 1, 5, 6, generator=generator) > 0.2).float()
    return image, seg, mask, torch.rand(2, features, 5, 6, generator=generator) * 4


def by_definition(image, seg, mask, depth, std) -> float:
    """-(1/N) sum over images, classes and pairs of pixels of s_i k_ij s_j, in plain loops over pixels."""
    total = 0.0
    places = [(y, x) for y in range(image.shape[2]) for x in range(image.shape[3])]
    for colours, scores, counted, further in zip(
        *(t.double() for t in (image, seg, mask, depth)), strict=True
    ):
        for y, x in places:
            for v, u in places:
                distance = ((y - v) ** 2 + (x - u) ** 2) / SIGMAS[0] ** 2
                distance += ((colours[:, y, x] - colours[:, v, u]) ** 2).sum() / SIGMAS[1] ** 2
                distance += (((further[:, y, x] - further[:, v, u]) / std) ** 2).sum()
                weight = torch.exp(-distance / 2) * counted[0, y, x] * counted[0, v, u]
                total -= float(weight * (scores[:, y, x] * scores[:, v, u]).sum())
    return total / len(image)


@pytest.mark.parametrize(("features", "colours", "std"), [(1, 3, [0.7]), (2, 1, [0.5, 2.0])])
def test_exact_is_the_sum_over_all_pairs(features, colours, std) -> None:
    image, seg, mask, depth = inputs(features, colours)
    expected = by_definition(image, seg, mask, depth, torch.tensor(std, dtype=torch.float64))
    found = densecrf_loss(image, seg, mask, *SIGMAS, "exact", features=Features(depth, std))
    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert densecrf_loss(image, seg, mask, *SIGMAS, "exact").item() != pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("mode", ["symmetric", "exact"])
def test_the_gradient_is_the_derivative(mode) -> None:
    image, seg, mask, depth = (tensor.double() for tensor in inputs())
    features = Features(depth, [0.7])
    assert torch.autograd.gradcheck(
        lambda given: densecrf_loss(image, given, mask, *SIGMAS, mode, features=features),
        seg.requires_grad_(),
    )


@pytest.mark.parametrize("mode", ["lattice", "symmetric"])
def test_a_constant_feature_of_zero_has_the_gradient_of_the_operator(mode, monkeypatch) -> None:
    """-(2/N) mask * (A s), as without features, also where A is not symmetric."""
    monkeypatch.setenv(VARIABLE, "twin")
    from rlossctl.bilateral import filter, twin

    image, seg, mask, depth = inputs()
    leaf = seg.clone().requires_grad_()
    densecrf_loss(image, leaf, mask, *SIGMAS, mode, features=Features(depth, [2.0])).backward()
    points = torch.stack([twin.features(own, *SIGMAS) for own in image])
    points = torch.cat([points, depth.flatten(2).transpose(1, 2) / 2], 2)
    filtered = (
        filter(points, (seg * mask).flatten(2).transpose(1, 2), mode).transpose(1, 2).reshape(seg.shape)
    )
    torch.testing.assert_close(leaf.grad, -mask * filtered, rtol=1e-6, atol=1e-6)


NET = """
input: "data" input_shape {{ dim: 2 dim: 3 dim: 5 dim: 6 }}
input: "scores" input_shape {{ dim: 2 dim: 4 dim: 5 dim: 6 }}
input: "depth" input_shape {{ dim: 2 dim: {channels} dim: 5 dim: 6 }}
input: "mask" input_shape {{ dim: 2 dim: 1 dim: 5 dim: 6 }}
layer {{ name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "scores" {bottoms} top: "crf" loss_weight: 1
  densecrf_loss_param {{ bi_xy_std: 3 bi_rgb_std: 20 mode: EXACT {field} }} }}
"""


@pytest.fixture
def run(build) -> Callable[..., float]:
    """run(bottoms, field, inputs, channels=1): the loss of a layer with these further bottoms and fields."""

    def of(bottoms: str, field: str, given: dict[str, torch.Tensor], channels: int = 1) -> float:
        return build(NET.format(bottoms=bottoms, field=field, channels=channels)).run(given).loss.item()

    return of


def test_the_layer_reads_features_and_a_mask(run) -> None:
    image, seg, mask, depth = inputs()
    given = {"data": image, "scores": seg, "depth": depth, "mask": mask}
    features = Features(depth, [0.7])
    found = run('bottom: "depth" bottom: "mask"', "feature_std: 0.7", given)
    assert found == densecrf_loss(image, seg, mask, *SIGMAS, "exact", features=features).item()
    everywhere = torch.ones_like(mask)
    found = run('bottom: "depth"', "feature_std: 0.7", given)
    assert found == densecrf_loss(image, seg, everywhere, *SIGMAS, "exact", features=features).item()
    assert run('bottom: "mask"', "", given) == densecrf_loss(image, seg, mask, *SIGMAS, "exact").item()


@pytest.mark.parametrize(
    ("bottoms", "field", "channels", "words"),
    [
        ('bottom: "depth" bottom: "mask"', "", 1, "bottoms"),
        ("", "feature_std: 1", 1, "bottoms"),
        ('bottom: "depth"', "feature_std: 0", 1, "above 0"),
        ('bottom: "depth"', "feature_std: 1 feature_std: 2", 1, "one for each channel"),
        ('bottom: "depth"', "feature_std: 1", 2, "at most 6 dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(run, bottoms, field, channels, words) -> None:
    with pytest.raises(NetError, match=words):
        run(bottoms, field, {}, channels)
