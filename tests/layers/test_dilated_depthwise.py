"""The gradient of dilated depthwise convolutions on the CPU against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rlossctl.layers import dilated_depthwise

CASES = [
    ((2, 5, 13, 13), (3, 3), (2, 2)),
    ((1, 3, 9, 14), (5, 3), (2, 4)),
    ((2, 4, 6, 5), (3, 3), (1, 3)),
    ((1, 2, 3, 3), (3, 3), (6, 6)),  # the kernel's rim never meets the image
]


def noise(*shape: int, seed: int, layout: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("shape", "kernel", "dilation"), CASES)
def test_output_and_gradients_are_those_of_torch(shape, kernel, dilation, layout):
    channels = shape[1]
    x = noise(*shape, seed=0, layout=layout)
    weight, bias = noise(channels, 1, *kernel, seed=1), noise(channels, seed=2)
    pad = tuple(gap * (size // 2) for gap, size in zip(dilation, kernel, strict=True))
    assert dilated_depthwise.suits(x, weight, (1, 1), pad, dilation, channels)
    ours = dilated_depthwise.convolve(x, weight, bias, pad, dilation)
    theirs = F.conv2d(x, weight, bias, 1, pad, dilation, channels)
    assert torch.equal(ours, theirs)
    outer = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(3))
    for mine, expected in zip(
        torch.autograd.grad(ours, (x, weight, bias), outer),
        torch.autograd.grad(theirs, (x, weight, bias), outer),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("without", [0, 1])
def test_what_is_frozen_has_no_gradient(without: int):
    inputs = [noise(1, 4, 7, 7, seed=0), noise(4, 1, 3, 3, seed=1)]
    inputs[without].requires_grad_(False)
    dilated_depthwise.convolve(*inputs, None, (2, 2), (2, 2)).sum().backward()
    assert inputs[without].grad is None
    assert inputs[1 - without].grad.shape == inputs[1 - without].shape


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stride": (2, 1)}, "a step"),
        ({"pad": (1, 2)}, "an output of another size"),
        ({"dilation": (1, 1), "pad": (1, 1)}, "without dilation"),
        ({"weight": torch.zeros(4, 1, 2, 2), "pad": (1, 1)}, "a kernel of even size"),
        ({"group": 2}, "groups of channels"),
        ({"x": torch.zeros(1, 4, 7, 7, dtype=torch.float64)}, "another type"),
        ({"x": torch.zeros(1, 4, 7, 7, device="meta")}, "another device"),
    ],
)
def test_other_convolutions_stay_with_torch(change, reason):
    usual = {
        "x": torch.zeros(1, 4, 7, 7),
        "weight": torch.zeros(4, 1, 3, 3),
        "stride": (1, 1),
        "pad": (2, 2),
        "dilation": (2, 2),
        "group": 4,
    }
    assert dilated_depthwise.suits(**usual)
    assert not dilated_depthwise.suits(**{**usual, **change}), reason


def test_convolution_layers_take_it(layer):
    window = "num_output: 4 group: 4 kernel_size: 3 pad: 2 dilation: 2"
    net = layer("Convolution", f"convolution_param {{ {window} }}", (1, 4, 7, 7))
    assert net(a=noise(1, 4, 7, 7, seed=0))["t0"].grad_fn.name().startswith("_OnGrids")
