"""The filter of points: against the image filter, the exact sum, its own transpose, and on every kernel."""

from __future__ import annotations

import pytest
import torch

from rlossctl import bilateral
from rlossctl.bilateral import bilateral_filter, choice, cuda_points, twin
from rlossctl.bilateral.choice import find_native
from rlossctl.bilateral.point_ops import point_op
from rlossctl.errors import NetError

needs_native = pytest.mark.skipif(
    find_native().module is None, reason=f"no native kernel: {find_native().missing}"
)


@pytest.fixture(params=["twin", pytest.param("native", marks=needs_native)])
def kernel(request, monkeypatch) -> str:
    monkeypatch.setenv(choice.VARIABLE, request.param)
    return request.param


def cloud(points: int, features: int, channels: int, sets: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in clusters a few standard deviations apart, and random values."""
    generator = torch.Generator().manual_seed(points + 10 * features + channels)
    centres = torch.randn(sets, 5, features, generator=generator) * 2
    chosen = torch.randint(5, (sets, points, 1), generator=generator).expand(-1, -1, features)
    spread = torch.randn(sets, points, features, generator=generator) * 0.7
    return centres.gather(1, chosen) + spread, torch.rand(sets, points, channels, generator=generator)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def pixels(image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
    return torch.stack([twin.features(colours, sigma_xy, sigma_rgb) for colours in image])


@pytest.mark.parametrize("mode", ["lattice", "symmetric"])
@pytest.mark.parametrize("colours", [0, 3, 4])
def test_an_image_is_a_set_of_points(kernel, batch, colours, mode) -> None:
    """Bit for bit, also at a number of pixels that is not a multiple of 4."""
    values, image = batch(2, 5, colours, 13, 11)
    expected = bilateral_filter(values, image, 8, 20, mode)
    flat = values.flatten(2).transpose(1, 2)
    found = bilateral.filter(pixels(image, 8, 20), flat, mode)
    assert torch.equal(found.transpose(1, 2).reshape(values.shape), expected)
    kept = bilateral.Lattice.of(pixels(image, 8, 20), mode)
    assert torch.equal(kept.filter(flat), found)
    assert torch.equal(
        kept.filter(flat[..., :2]), bilateral.filter(pixels(image, 8, 20), flat[..., :2], mode)
    )


@pytest.mark.parametrize("features", range(1, 7))
def test_native_equals_twin(features, monkeypatch) -> None:
    points, values = cloud(203, features, 9, sets=2)
    monkeypatch.setenv(choice.VARIABLE, "twin")
    expected = bilateral.filter(points, values)
    assert relative(expected, bilateral.filter(points.double(), values.double())) <= 2e-5
    if find_native().module is None:
        pytest.skip("no native kernel")
    monkeypatch.setenv(choice.VARIABLE, "native")
    assert relative(bilateral.filter(points, values), expected) <= 2e-5


@pytest.mark.parametrize("features", range(1, 7))
def test_the_lattice_is_near_the_exact_sum(kernel, features) -> None:
    """The best multiple of the lattice's result (docs/filter.md); exact is what the definition says."""
    points, values = cloud(400, features, 3)
    exact = bilateral.filter(points[0], values[0], "exact")
    weights = (-torch.cdist(points[0].double(), points[0].double()).square() / 2).exp()
    assert relative(exact, weights @ values[0].double()) <= 1e-6
    found = bilateral.filter(points[0], values[0], "symmetric")
    factor = (found * exact).sum() / found.square().sum()
    assert relative(factor * found, exact) <= 0.15


@pytest.mark.parametrize("mode", ["lattice", "symmetric", "exact"])
@pytest.mark.parametrize("kept", [False, True])
def test_the_gradient_is_the_transpose(mode, kept) -> None:
    points, values = cloud(17, 3, 2, sets=2)
    points, values = points.double(), values.double().requires_grad_()
    lattice = bilateral.Lattice.of(points, mode)
    call = lattice.filter if kept else lambda given: bilateral.filter(points, given, mode)
    assert torch.autograd.gradcheck(call, values)
    assert torch.autograd.gradgradcheck(call, values)


def test_the_operator_passes_torchs_checks(kernel) -> None:
    points, values = cloud(21, 4, 3)
    planes = values.transpose(1, 2).contiguous().requires_grad_()
    for mode in ("lattice", "exact"):
        torch.library.opcheck(point_op, (planes, points, mode))


@needs_native
def test_native_bits_do_not_depend_on_threads() -> None:
    points, values = cloud(3001, 5, 21)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(bilateral.filter(points, values))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, found[0]) for one in found)


@pytest.mark.parametrize("features", range(2, 7))
def test_cuda_equals_twin(emulated_kernels, features) -> None:
    """The CUDA kernels' source, emulated on the CPU: sums of floats and of integers, in both orders."""
    points, values = cloud(277, features, 6, sets=3)
    planes = values.transpose(1, 2).contiguous()
    lattices, expected = cuda_points.PointLattices(points), twin.PointLattices(points)
    for order in (twin.FORWARD, twin.BACKWARD, twin.MEAN):
        for deterministic in (False, True):
            found = lattices.filter(planes, order, deterministic)
            assert relative(found, expected.filter(planes, order)) <= 2e-6


def test_cuda_gives_nan_for_what_it_cannot_tell(emulated_kernels) -> None:
    points, values = cloud(40, 3, 2)
    points[0, 3, 1] = torch.inf
    assert cuda_points.PointLattices(points).filter(values.transpose(1, 2).contiguous()).isnan().all()


def test_nothing_to_filter(kernel) -> None:
    points = torch.zeros(0, 3)
    assert bilateral.filter(points, torch.zeros(0, 2)).shape == (0, 2)
    assert bilateral.Lattice.of(points).filter(torch.zeros(0, 2)).shape == (0, 2)
    assert bilateral.filter(torch.zeros(4, 3), torch.zeros(4, 0)).shape == (4, 0)


@pytest.mark.parametrize(
    ("points", "values", "mode", "words"),
    [
        ((5, 7), (5, 2), "lattice", "7 features"),
        ((5, 3), (4, 2), "lattice", "do not fit together"),
        ((1, 5, 3), (5, 2), "lattice", "not features and values"),
        ((5, 3), (5, 2), "fast", "does not know this mode"),
    ],
)
def test_what_does_not_fit_is_refused(points, values, mode, words) -> None:
    with pytest.raises(NetError, match=words):
        bilateral.filter(torch.zeros(points), torch.zeros(values), mode)


@pytest.mark.parametrize(("value", "words"), [(torch.nan, "NaN or infinity"), (1e6, "too far apart")])
def test_features_that_no_lattice_holds_are_explained(kernel, value, words) -> None:
    points, values = cloud(9, 3, 1)
    points[0, 4, 2] = value
    with pytest.raises(NetError, match=words):
        bilateral.filter(points, values)
