"""SmoothL1Loss, CenterLoss and SeLU by their formulas."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


@pytest.mark.proves("SmoothL1Loss", gradient=True)
@pytest.mark.parametrize("sigma", [1.0, 3.0])
@pytest.mark.parametrize("weights", [0, 1, 2])
def test_smooth_l1(layer, sigma: float, weights: int):
    """smooth_l1_loss_layer.cu of Fast R-CNN, value by value."""
    shape = (3, 8, 1, 1)
    net = layer("SmoothL1Loss", f"smooth_l1_loss_param {{ sigma: {sigma} }}", *[shape] * (2 + weights))
    blobs = {name: draw(number, *shape) for number, name in zip(range(2 + weights), "abcd", strict=False)}
    blobs["a"].requires_grad_()
    loss = net.run(blobs).loss
    total, slopes = 0.0, []
    values = [blobs[name].flatten().tolist() if name in blobs else [1.0] * 24 for name in "abcd"]
    for x, t, inside, outside in zip(*values, strict=True):
        d = inside * (x - t)
        near = abs(d) < 1 / sigma**2
        total += outside * (0.5 * sigma**2 * d * d if near else abs(d) - 0.5 / sigma**2)
        slopes.append(inside * outside * (sigma**2 * d if near else (d > 0) - (d < 0)) / 3)
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)
    (grad,) = torch.autograd.grad(loss, blobs["a"])
    torch.testing.assert_close(grad.flatten(), torch.tensor(slopes), rtol=1e-5, atol=1e-6)


@pytest.mark.proves("CenterLoss", gradient=True)
def test_center_loss_and_its_two_gradients(layer):
    """center_loss_layer.cpp of caffe-face."""
    fields = 'loss_weight: 0.5 center_loss_param { num_output: 3 center_filler { type: "xavier" } }'
    net = layer("CenterLoss", fields, (4, 5), (4,))
    (centres,) = net.params["l"]
    x, labels = draw(0, 4, 5).requires_grad_(), torch.tensor([2.0, 0.0, 2.0, 2.0])
    loss = net.run({"a": x, "b": labels}).loss
    loss.backward()
    distance = (x - centres[labels.long()]).detach()
    assert loss.item() == pytest.approx(0.5 * distance.square().sum().item() / 8, rel=1e-5)
    torch.testing.assert_close(x.grad, 0.5 * distance / 4)
    expected = torch.zeros(3, 5)
    expected[0] = -distance[1] / 2
    expected[2] = -distance[[0, 2, 3]].sum(0) / 4
    torch.testing.assert_close(centres.grad, expected)


def test_center_loss_refuses_ids_that_have_no_centre(layer):
    net = layer("CenterLoss", "center_loss_param { num_output: 3 }", (2, 5), (2,))
    with pytest.raises(NetError, match="out of range"):
        net.run({"a": draw(0, 2, 5), "b": torch.tensor([0.0, 3.0])})
    with pytest.raises(NetError, match="num_output"):
        layer("CenterLoss", "", (2, 5), (2,))


@pytest.mark.proves("SELU", "", gradient=True)
@pytest.mark.proves("SeLU", "selu_param { lambda: 2 }", gradient=True)
@pytest.mark.proves("SeLu", "selu_param { alpha: 2 }", gradient=True)
def test_selu_in_its_three_spellings(layer):
    x = draw(5, 2, 3, 4).requires_grad_()
    other = "selu_param { lambda: 2 alpha: 3 }"
    nets = [layer("SELU", "", (2, 3, 4)), layer("SeLU", "", (2, 3, 4)), layer("SeLu", "", (2, 3, 4))]
    for y in (net(a=x)["t0"] for net in nets):
        torch.testing.assert_close(y, torch.selu(x))
        (slope,), (expected,) = (torch.autograd.grad(values.sum(), x) for values in (y, torch.selu(x)))
        torch.testing.assert_close(slope, expected)
    found = layer("SeLu", other, (2, 3, 4))(a=x)["t0"]
    torch.testing.assert_close(found, 2 * torch.where(x > 0, x, 3 * (x.exp() - 1)))
