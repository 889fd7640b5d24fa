"""The lattice operator: what both kernels compute, and that they compute the same."""

from __future__ import annotations

import pytest
import torch

from rlossctl.bilateral import bilateral_filter
from rlossctl.bilateral.choice import find_native
from rlossctl.errors import NetError

needs_native = pytest.mark.skipif(
    find_native().module is None, reason=f"no native kernel: {find_native().missing}"
)


@pytest.fixture(params=["twin", pytest.param("native", marks=needs_native)])
def kernel(request, monkeypatch) -> str:
    monkeypatch.setenv("RLOSSCTL_BILATERAL", request.param)
    return request.param


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def picture(shape: tuple[int, int, int, int], seed: int = 0, span: float = 255) -> torch.Tensor:
    """Patches of smooth colour with noise, 0..span."""
    generator = torch.Generator().manual_seed(seed)
    images, colours, height, width = shape
    coarse = torch.rand(images, colours, max(height // 9, 1), max(width // 9, 1), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return ((0.9 * smooth + 0.1 * torch.rand(shape, generator=generator)) * span).round()


def scores(shape: tuple[int, int, int, int], seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@needs_native
@pytest.mark.parametrize(
    ("images", "channels", "colours", "height", "width", "sigma_xy", "sigma_rgb"),
    [
        (1, 21, 3, 41, 41, 100, 15),
        (2, 5, 3, 33, 47, 80, 13),
        (1, 1, 3, 64, 48, 50, 15),
        (1, 30, 3, 19, 23, 20, 30),
        (1, 2, 3, 1, 1, 100, 15),
        (3, 4, 3, 1, 37, 10, 15),
        (1, 3, 3, 31, 29, 1, 1),
        (1, 3, 3, 31, 29, 0.5, 0.3),
        (1, 8, 1, 40, 25, 30, 10),
        (2, 3, 2, 21, 22, 30, 10),
        (1, 9, 4, 25, 24, 30, 10),
    ],
)
def test_native_equals_twin(
    monkeypatch, images, channels, colours, height, width, sigma_xy, sigma_rgb
) -> None:
    image, values = picture((images, colours, height, width)), scores((images, channels, height, width))
    monkeypatch.setenv("RLOSSCTL_BILATERAL", "twin")
    expected = bilateral_filter(values, image, sigma_xy, sigma_rgb)
    monkeypatch.setenv("RLOSSCTL_BILATERAL", "native")
    assert relative(bilateral_filter(values, image, sigma_xy, sigma_rgb), expected) <= 2e-5


@needs_native
def test_native_equals_the_twin_in_double() -> None:
    image, values = picture((1, 3, 60, 60)), scores((1, 21, 60, 60))
    expected = bilateral_filter(values.double(), image, 50, 15)
    assert expected.dtype == torch.float64
    assert relative(bilateral_filter(values, image, 50, 15), expected) <= 2e-5


@needs_native
@pytest.mark.parametrize("images", [1, 2, 5])
def test_native_bits_do_not_depend_on_threads(threads, images) -> None:
    image, values = picture((images, 3, 57, 65)), scores((images, 21, 57, 65))
    threads(1)
    expected = bilateral_filter(values, image, 50, 15)
    for count in (2, 3):
        threads(count)
        assert torch.equal(bilateral_filter(values, image, 50, 15), expected)


def test_each_image_and_channel_is_filtered_alone(kernel) -> None:
    image, values = picture((3, 3, 24, 26)), scores((3, 4, 24, 26))
    together = bilateral_filter(values, image, 30, 15)
    for n in range(3):
        for k in range(4):
            alone = bilateral_filter(values[n : n + 1, k : k + 1], image[n : n + 1], 30, 15)
            assert relative(together[n : n + 1, k : k + 1], alone) <= 1e-6


def test_a_masked_channel_stays_zero(kernel) -> None:
    values = torch.zeros(1, 3, 20, 20)
    assert torch.equal(bilateral_filter(values, picture((1, 3, 20, 20)), 30, 15), values)


def test_is_a_scaled_gaussian_sum(kernel) -> None:
    """Close in shape to the exact sum; the scale is the lattice's own (0.34 to 0.64 on images)."""
    image, values = picture((1, 3, 32, 32)), scores((1, 3, 32, 32))
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    features = torch.cat([torch.stack([x, y]) / 20, image[0] / 25]).flatten(1).t()
    exact = (-0.5 * torch.cdist(features, features).square()).exp() @ values[0].flatten(1).t()
    found = bilateral_filter(values, image, 20, 25)[0].flatten(1).t()
    scale = (found * exact).sum() / exact.square().sum()
    assert 0.3 < scale < 0.7
    assert relative(found, scale * exact) < 0.15


def test_far_colours_do_not_mix(kernel) -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8:] = 250.0
    values = (image[:, :1] > 0).float()
    assert bilateral_filter(values, image, 50, 10)[..., :8].abs().max() == 0


def test_inputs_are_not_changed_and_may_be_strided(kernel) -> None:
    image = picture((2, 3, 21, 30)).to(memory_format=torch.channels_last)
    values = scores((2, 5, 30, 21)).transpose(2, 3).requires_grad_()
    copies = image.clone(), values.detach().clone()
    found = bilateral_filter(values, image, 30, 15)
    assert torch.equal(image, copies[0]) and torch.equal(values, copies[1])
    assert torch.equal(found, bilateral_filter(copies[1].contiguous(), copies[0].contiguous(), 30, 15))


def test_half_types_are_computed_in_float32(kernel) -> None:
    image, values = picture((1, 3, 20, 20)), scores((1, 3, 20, 20)).bfloat16()
    found = bilateral_filter(values, image, 30, 15)
    assert found.dtype == torch.float32
    assert torch.equal(found, bilateral_filter(values.float(), image, 30, 15))


def test_nothing_to_filter(kernel) -> None:
    assert bilateral_filter(torch.zeros(1, 0, 4, 4), torch.zeros(1, 3, 4, 4), 30, 15).shape == (1, 0, 4, 4)


@pytest.mark.parametrize(
    ("sigma_xy", "sigma_rgb"), [(0, 15), (30, -1), (float("nan"), 15), (30, float("inf"))]
)
def test_sigma_that_is_none(sigma_xy, sigma_rgb) -> None:
    with pytest.raises(NetError, match="not a standard deviation"):
        bilateral_filter(torch.ones(1, 1, 4, 4), torch.ones(1, 3, 4, 4), sigma_xy, sigma_rgb)


@pytest.mark.parametrize(("sigma_xy", "sigma_rgb"), [(30, 1e-3), (1e-6, 15), (0.02, 0.02)])
def test_sigma_too_small_for_the_keys(kernel, sigma_xy, sigma_rgb) -> None:
    with pytest.raises(NetError, match="sigma is too small"):
        bilateral_filter(torch.ones(1, 1, 40, 40), picture((1, 3, 40, 40)), sigma_xy, sigma_rgb)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_image_that_is_not_finite(kernel, bad) -> None:
    image = picture((1, 3, 8, 8))
    image[0, 1, 3, 3] = bad
    with pytest.raises(NetError, match="NaN or infinity"):
        bilateral_filter(torch.ones(1, 1, 8, 8), image, 30, 15)


@pytest.mark.parametrize(
    ("values", "image"),
    [
        (torch.ones(1, 1, 4, 4), torch.ones(1, 3, 4, 5)),
        (torch.ones(2, 1, 4, 4), torch.ones(1, 3, 4, 4)),
        (torch.ones(1, 4, 4), torch.ones(1, 3, 4, 4)),
        (torch.ones(1, 1, 4, 4), torch.ones(1, 5, 4, 4)),
        (torch.ones(1, 1, 4, 4, dtype=torch.long), torch.ones(1, 3, 4, 4)),
    ],
)
def test_tensors_that_do_not_fit(values, image) -> None:
    with pytest.raises(NetError, match="values and image"):
        bilateral_filter(values, image, 30, 15)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_twin_runs_on_the_device() -> None:
    image, values = picture((2, 3, 40, 41)).cuda(), scores((2, 21, 40, 41)).cuda()
    found = bilateral_filter(values, image, 50, 15)
    assert found.is_cuda
    assert relative(found.cpu(), bilateral_filter(values.cpu().double(), image.cpu(), 50, 15)) <= 1e-4


@needs_native
@pytest.mark.parametrize(("height", "width", "sigma_xy"), [(31, 29, 3), (40, 48, 0.7), (1, 1, 5)])
def test_native_equals_twin_over_position_alone(monkeypatch, height, width, sigma_xy) -> None:
    image, values = torch.empty(2, 0, height, width), scores((2, 5, height, width))
    monkeypatch.setenv("RLOSSCTL_BILATERAL", "twin")
    expected = bilateral_filter(values, image, sigma_xy, 1)
    monkeypatch.setenv("RLOSSCTL_BILATERAL", "native")
    assert relative(bilateral_filter(values, image, sigma_xy, 1), expected) <= 2e-5


def test_position_alone_is_close_to_the_gaussian(kernel) -> None:
    values = torch.zeros(1, 1, 41, 41)
    values[0, 0, 20, 20] = 1
    at = torch.arange(41.0) - 20
    gaussian = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * 4**2))
    found = bilateral_filter(values, torch.empty(1, 0, 41, 41), 4, 1)[0, 0]
    assert relative(found / found.sum(), gaussian / gaussian.sum()) < 0.15
