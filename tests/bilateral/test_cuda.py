"""What the CUDA kernels compute, held against the twin and recorded arrays: emulated on the CPU and on a GPU.

    python -m pytest -m gpu tests/bilateral

The twin runs on the CPU in both cases: on a GPU torch divides by a number as it multiplies by its reciprocal,
which can move a pixel to the other side of a simplex' border.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.bilateral import exact, twin

ORDERS = pytest.mark.parametrize(
    "order", [twin.FORWARD, twin.BACKWARD, twin.MEAN], ids=["forward", "backward", "mean"]
)
DETERMINISTIC = pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
RECORDED = ["crf_41", "crf_anisotropic", "crf_default_params", "crf_padded", "crf_small"]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "channels", "colours", "height", "width", "sigma_xy", "sigma_rgb"),
    [
        (1, 1, 3, 1, 1, 5, 5),
        (2, 21, 3, 41, 41, 100, 15),
        (1, 150, 3, 9, 7, 5, 20),
        (3, 4, 0, 20, 33, 3, 1),
        (1, 3, 1, 16, 16, 4, 9),
        (2, 6, 2, 18, 31, 4, 9),
        (1, 7, 4, 17, 18, 4, 30),
        (1, 2, 3, 1, 37, 0.5, 2),
        (2, 5, 3, 33, 5, 0.5, 0.3),
    ],
)
@ORDERS
@DETERMINISTIC
def test_lattice_equals_the_twin(
    kernels, batch, images, channels, colours, height, width, sigma_xy, sigma_rgb, order, deterministic
) -> None:
    values, image = batch(images, channels, colours, height, width)
    expected = twin.lattice_filter(values, image, sigma_xy, sigma_rgb, order)
    found = kernels.lattice_filter(values, image, sigma_xy, sigma_rgb, order, deterministic)
    assert relative(found, expected) <= 1e-6


@pytest.mark.slow
@ORDERS
@DETERMINISTIC
def test_densecrf_is_the_masked_filter(kernels, batch, order, deterministic) -> None:
    values, image = batch(3, 9, 3, 22, 19)
    mask = torch.rand(3, 1, 22, 19, generator=torch.Generator().manual_seed(0)).mul(2).clamp(max=1)
    masked = values * mask
    filtered = twin.lattice_filter(masked, image, 30, 20, order)
    arguments = values, mask, image, 30, 20, -0.5, order, deterministic
    gradient, energies = kernels.densecrf(*arguments)
    assert relative(gradient, -0.5 * mask * filtered) <= 1e-6
    assert energies.dtype == torch.float64
    assert relative(energies, (masked.double() * filtered.double()).sum((1, 2, 3))) <= 1e-6
    nothing, alone = kernels.densecrf(*arguments, with_gradient=False)
    assert nothing is None and relative(alone, energies) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(5, 3, 33, 31), (2, 0, 9, 7), (3, 4, 18, 17), (1, 3, 1, 1)])
def test_kept_lattices_filter_as_often_as_wanted(kernels, batch, sizes) -> None:
    """Other channels, orders and sums each time, over images in one part or in several."""
    images, colours, height, width = sizes
    image = batch(images, 1, colours, height, width)[1]
    lattices = kernels.Lattices(image, 30, 15)
    for channels, order in ((3, twin.FORWARD), (26, twin.MEAN), (1, twin.BACKWARD), (3, twin.FORWARD)):
        values = batch(images, channels, 0, height, width)[0]
        fast = lattices.filter(values, order, False)
        assert relative(fast, twin.lattice_filter(values, image, 30, 15, order)) <= 1e-6
        expected = kernels.lattice_filter(values, image, 30, 15, order, True)
        assert torch.equal(lattices.filter(values, order, True), expected)


def test_kept_lattices_are_of_the_image_as_it_was(kernels, batch) -> None:
    values, image = batch(2, 3, 3, 20, 15)
    expected = kernels.lattice_filter(values, image, 30, 15, twin.FORWARD, True)
    lattices = kernels.Lattices(image, 30, 15)
    image.zero_()
    assert torch.equal(lattices.filter(values, twin.FORWARD, True), expected)


def test_kept_lattices_take_values_without_channels(kernels, batch) -> None:
    lattices = kernels.Lattices(batch(1, 3, 3, 4, 5)[1], 30, 15)
    assert lattices.filter(torch.ones(1, 0, 4, 5)).shape == (1, 0, 4, 5)


@pytest.mark.parametrize("shape", [(1, 3, 20, 15), (2, 3, 15, 20)])
def test_kept_lattices_refuse_values_of_another_size(kernels, batch, shape) -> None:
    lattices = kernels.Lattices(batch(2, 3, 3, 20, 15)[1], 30, 15)
    with pytest.raises(ValueError, match="for images"):
        lattices.filter(torch.ones(shape))


@pytest.mark.parametrize("name", RECORDED)
@DETERMINISTIC
def test_recorded_losses(kernels, golden, name, deterministic) -> None:
    """Arrays of the original program (tests/golden/densecrf)."""
    case = np.load(golden / f"densecrf/{name}.npz")
    data, seg = torch.from_numpy(case["data"]), torch.from_numpy(case["seg"])
    mask = (data.abs() >= 1).any(dim=1, keepdim=True).float()
    sigmas = float(case["sigma_xy"]), float(case["sigma_rgb"])
    arguments = seg, mask, data, *sigmas, -2 / len(seg), twin.FORWARD, deterministic
    gradient, energies = kernels.densecrf(*arguments)
    assert -energies.sum().item() / len(seg) == pytest.approx(float(case["loss"]), rel=1e-5)
    assert relative(gradient, torch.from_numpy(case["grad"])) <= 2e-5


@pytest.mark.parametrize(("sigma_xy", "sigma_rgb"), [(30, 1e-3), (1e-6, 15), (0.02, 0.02)])
@DETERMINISTIC
def test_sigma_too_small_for_the_keys_gives_nan(kernels, batch, sigma_xy, sigma_rgb, deterministic) -> None:
    values, image = batch(2, 3, 3, 40, 40)
    options = twin.MEAN, deterministic
    assert kernels.lattice_filter(values, image, sigma_xy, sigma_rgb, *options).isnan().all()
    assert kernels.Lattices(image, sigma_xy, sigma_rgb).filter(values, *options).isnan().all()
    mask = torch.zeros(2, 1, 40, 40)
    gradient, energies = kernels.densecrf(values, mask, image, sigma_xy, sigma_rgb, 1, *options)
    assert gradient.isnan().all() and energies.isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_image_that_is_not_finite_gives_nan(kernels, batch, bad) -> None:
    values, image = batch(2, 3, 3, 17, 18)
    image[0, 1, 16, 3] = bad
    assert kernels.lattice_filter(values, image, 30, 15).isnan().all()
    lattices = kernels.Lattices(image, 30, 15)
    for _ in range(2):
        assert lattices.filter(values).isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_stays_in_its_channel(kernels, batch, bad) -> None:
    values, image = batch(2, 6, 3, 17, 18)
    expected = kernels.lattice_filter(values, image, 30, 15, twin.FORWARD, True)
    values[1, 4, 8, 8] = bad
    fast = kernels.lattice_filter(values, image, 30, 15)
    assert not fast[1, 4, 8, 8].isfinite()
    fixed = kernels.lattice_filter(values, image, 30, 15, twin.FORWARD, True)
    assert fixed[1, 4].isnan().all()
    fixed[1, 4] = expected[1, 4]
    assert torch.equal(fixed, expected)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_deterministic_sums_follow_the_magnitude(kernels, batch, scale) -> None:
    values, image = batch(1, 5, 3, 30, 20)
    expected = twin.lattice_filter(values, image, 30, 15) * scale
    found = kernels.lattice_filter(values * scale, image, 30, 15, twin.FORWARD, True)
    assert relative(found, expected) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes", [(2, 3, 3, 37, 21), (1, 50, 3, 17, 9), (1, 4, 0, 20, 33), (2, 2, 1, 16, 16), (1, 2, 4, 1, 1)]
)
def test_exact_equals_its_twin(kernels, batch, sizes) -> None:
    values, image = batch(*sizes)
    expected = exact.exact_filter(values.double(), image.double(), 20, 25, exact.cutoff(values.double()))
    for cutoff in (0, exact.cutoff(values)):
        assert relative(kernels.exact_filter(values, image, 20, 25, cutoff), expected) <= 2e-6


def test_exact_leaves_out_what_is_below_the_cutoff(kernels) -> None:
    image = torch.zeros(1, 3, 16, 32)
    image[..., 16:] = 40
    values = (image[:, :1] > 0).float()
    # Between the halves a weight is at most exp(-(3 * 4^2) / 2) = 4e-11.
    assert (kernels.exact_filter(values, image, 50, 10, 0)[..., :16] > 0).all()
    assert (kernels.exact_filter(values, image, 50, 10, 1e-12)[..., :16] > 0).all()
    assert (kernels.exact_filter(values, image, 50, 10, 1e-10)[..., :16] == 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_exact_shows_an_image_that_is_not_finite(kernels, batch, bad) -> None:
    values, image = batch(1, 2, 3, 20, 40)
    image[0, 0, 3, 3] = bad
    found = kernels.exact_filter(values, image, 20, 25, exact.cutoff(values))
    assert found[0, :, 3, 3].isnan().all()
