"""The modes beside the original's lattice: its transpose, its symmetric mean, the Gaussian sum."""

from __future__ import annotations

import math

import pytest
import torch

from rlossctl.bilateral import Kernel, bilateral_filter, exact
from rlossctl.bilateral.choice import find_native
from rlossctl.bilateral.ops import MODES, filter_op
from rlossctl.errors import NetError

needs_native = pytest.mark.skipif(
    find_native().module is None, reason=f"no native kernel: {find_native().missing}"
)


@pytest.fixture(params=["twin", pytest.param("native", marks=needs_native)])
def kernel(request, monkeypatch) -> str:
    monkeypatch.setenv("RLOSSCTL_BILATERAL", request.param)
    return request.param


def sample(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Values [N, K, H, W] and an image [N, 3, H, W] of soft patches with noise, 0..255."""
    generator = torch.Generator().manual_seed(4)
    images, _, height, width = shape
    coarse = torch.rand(images, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    image = ((0.9 * smooth + 0.1 * torch.rand(smooth.shape, generator=generator)) * 255).round()
    return torch.randn(shape, generator=generator).softmax(1).to(dtype), image.to(dtype)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def gaussian_sum(values: torch.Tensor, image: torch.Tensor, xy: float, rgb: float) -> torch.Tensor:
    """Every pixel with every other, in double."""
    height, width = values.shape[2:]
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    sums = []
    for one, colours in zip(values.double(), image.double(), strict=True):
        points = torch.cat([torch.stack([x, y]) / xy, colours / rgb]).flatten(1).t()
        squares = (points[:, None] - points[None]).square().sum(2)
        sums.append(((-squares / 2).exp() @ one.flatten(1).t()).t().view_as(one))
    return torch.stack(sums)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 3, 33, 40), (1, 5, 16, 16), (1, 1, 1, 1), (1, 2, 3, 50)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_exact_is_the_gaussian_sum(kernel, shape, dtype, bound) -> None:
    values, image = sample(*shape, dtype=dtype)
    found = bilateral_filter(values, image, 20, 15, "exact")
    assert found.dtype == dtype
    assert relative(found, gaussian_sum(values, image, 20, 15)) <= bound


def test_exact_over_position_alone(kernel) -> None:
    values, image = sample(1, 2, 40, 37)
    found = bilateral_filter(values, image[:, :0], 2, 1, "exact")
    assert relative(found, gaussian_sum(values, image[:, :0], 2, 1)) <= 2e-6


def test_exact_leaves_far_tiles_out_and_stays_within_its_bound() -> None:
    """Two tiles of 16x16 that hardly touch: leaving them out would be seen if the bound were not kept."""
    values, image = torch.ones(1, 1, 16, 64), torch.zeros(1, 3, 16, 64)
    points = exact.tiles(torch.arange(64.0).expand(1, 16, 64) / 3)
    reach = -2 * math.log(exact.cutoff(values))
    near = exact.near_tiles(points, reach)
    assert [len(others) for others in near] == [3, 4, 4, 3]
    error = bilateral_filter(values, image, 3, 15, "exact").double() - gaussian_sum(values, image, 3, 15)
    assert error.abs().max() <= exact.DROPPED[torch.float32] + 1e-6 * 60  # and float32's rounding of the sum


def test_exact_does_not_hide_a_colour_that_is_none(kernel) -> None:
    values, image = sample(1, 2, 20, 20)
    image[0, 1, 3, 3] = torch.nan
    with pytest.raises(NetError, match="NaN or infinity"):
        bilateral_filter(values, image, 20, 15, "exact")


def matrix(image: torch.Tensor, mode: str) -> torch.Tensor:
    """The operator [P, P] from its action on every unit vector."""
    pixels = image[0, 0].numel()
    units = torch.eye(pixels, dtype=image.dtype).view(1, pixels, *image.shape[2:])
    return filter_op(units, image, 6.0, 20.0, mode)[0].flatten(1).t()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_transposed_and_symmetric_are_what_they_say(kernel, dtype, bound) -> None:
    _, image = sample(1, 1, 9, 11, dtype=dtype)
    lattice = matrix(image, "lattice")
    assert relative(lattice.t(), lattice) > 1e-3  # or there would be nothing to test
    assert relative(matrix(image, "transposed"), lattice.t()) <= bound
    assert relative(matrix(image, "symmetric"), (lattice + lattice.t()) / 2) <= bound


@needs_native
@pytest.mark.parametrize("mode", ["transposed", "symmetric", "exact"])
def test_native_equals_twin(monkeypatch, mode) -> None:
    values, image = sample(2, 21, 37, 43)
    monkeypatch.setenv("RLOSSCTL_BILATERAL", "twin")
    expected = filter_op(values, image, 30.0, 15.0, mode)
    monkeypatch.setenv("RLOSSCTL_BILATERAL", "native")
    assert relative(filter_op(values, image, 30.0, 15.0, mode), expected) <= 2e-5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_kernel_is_the_filter_prepared(kernel, mode, dtype) -> None:
    values, image = sample(2, 3, 21, 18, dtype=dtype)
    prepared = Kernel(image, 20, 15, mode)
    for some in (values, values.flip(1), values[:, :1]):
        assert torch.equal(prepared(some), bilateral_filter(some, image, 20, 15, mode))


@pytest.mark.parametrize("mode", MODES)
def test_a_kernel_checks_what_it_is_given(mode) -> None:
    values, image = sample(2, 3, 8, 8)
    with pytest.raises(NetError, match="do not fit"):
        Kernel(image, 20, 15, mode)(values[:1])
    with pytest.raises(NetError, match="standard deviation"):
        Kernel(image, 0, 15, mode)


def test_an_unknown_mode() -> None:
    values, image = sample(1, 2, 8, 8)
    with pytest.raises(NetError, match="lattice, symmetric, exact"):
        bilateral_filter(values, image, 20, 15, "gaussian")
