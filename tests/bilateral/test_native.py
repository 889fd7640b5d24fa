"""The native kernels: every instruction set, threads, forks and memory, against the twin and plain sums."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rlossctl.bilateral import bilateral_filter, choice, native, twin
from rlossctl.bilateral.choice import find_native
from rlossctl.errors import NetError, UsageError

pytestmark = pytest.mark.skipif(
    find_native().module is None, reason=f"no native kernel: {find_native().missing}"
)
PATHS = ("plain", "avx2", "avx512")


def picture(shape: tuple[int, int, int, int], seed: int = 0) -> torch.Tensor:
    """Patches of smooth colour with noise, 0..255."""
    generator = torch.Generator().manual_seed(seed)
    images, colours, height, width = shape
    coarse = torch.rand(images, colours, max(height // 9, 1), max(width // 9, 1), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return ((0.9 * smooth + 0.1 * torch.rand(shape, generator=generator)) * 255).round()


def scores(shape: tuple[int, int, int, int], seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(params=PATHS)
def path(request, monkeypatch) -> str:
    monkeypatch.delenv("RLOSSCTL_SIMD", raising=False)
    best = find_native().needed().simd()
    if PATHS.index(request.param) > PATHS.index(best):
        pytest.skip(f"this processor runs {best}")
    monkeypatch.setenv("RLOSSCTL_SIMD", request.param)
    assert find_native().needed().simd() == request.param
    return request.param


@pytest.mark.parametrize(
    ("images", "channels", "height", "width", "sigmas"),
    [
        (2, 21, 33, 47, (50, 15)),
        (1, 1, 40, 41, (80, 13)),
        (1, 150, 13, 17, (20, 30)),
        (3, 40, 1, 1, (100, 15)),
        (1, 3, 31, 29, (1, 1)),
        (1, 7, 1, 90, (0.5, 0.3)),
    ],
)
def test_every_path_equals_the_twin(path, threads, images, channels, height, width, sigmas) -> None:
    image, values = picture((images, 3, height, width)), scores((images, channels, height, width))
    expected = twin.lattice_filter(values, image, *sigmas)
    found = native.lattice_filter(values, image, *sigmas)
    assert relative(found, expected) <= 2e-5
    for count in (2, 3, 4):
        threads(count)
        assert torch.equal(native.lattice_filter(values, image, *sigmas), found)


@pytest.mark.parametrize("colours", range(5))
def test_every_path_takes_any_number_of_colours(path, colours) -> None:
    image, values = (
        picture((2, colours, 22, 27)) if colours else torch.empty(2, 0, 22, 27),
        scores((2, 9, 22, 27)),
    )
    expected = twin.lattice_filter(values, image, 20.0, 15.0)
    assert relative(native.lattice_filter(values, image, 20.0, 15.0), expected) <= 2e-5


@pytest.mark.parametrize("name", ["small", "41", "anisotropic", "padded"])
def test_every_path_repeats_the_original(path, golden, name) -> None:
    with np.load(golden / "densecrf" / f"crf_{name}.npz") as case:
        check_recorded(case)


def test_every_path_repeats_the_original_at_161(path, shared) -> None:
    with np.load(shared / "golden" / "densecrf" / "crf_161.npz") as case:
        check_recorded(case)


def check_recorded(case: np.lib.npyio.NpzFile) -> None:
    data, seg = torch.from_numpy(case["data"]), torch.from_numpy(case["seg"])
    mask = (data.abs() >= 1).any(dim=1, keepdim=True).float()
    sigmas = float(case["sigma_xy"]), float(case["sigma_rgb"])
    gradient, energies = native.densecrf(seg, mask, data, *sigmas, -2 / len(seg))
    assert -energies.sum().item() / len(seg) == pytest.approx(float(case["loss"]), rel=1e-5)
    assert relative(gradient, torch.from_numpy(case["grad"])) <= 1e-5


@pytest.mark.parametrize("order", [twin.FORWARD, twin.BACKWARD, twin.MEAN])
def test_loss_equals_its_parts(path, threads, order) -> None:
    image, values = picture((2, 3, 33, 30)), scores((2, 21, 33, 30))
    mask = (torch.rand(2, 1, 33, 30, generator=torch.Generator().manual_seed(2)) > 0.3).float()
    filtered = native.lattice_filter(values * mask, image, 20.0, 15.0, order)
    gradient, energies = native.densecrf(values, mask, image, 20.0, 15.0, -3.0, order)
    assert relative(gradient, -3 * mask * filtered) <= 1e-6
    expected = ((values * mask).double() * filtered.double()).sum((1, 2, 3))
    torch.testing.assert_close(energies, expected, rtol=1e-6, atol=0)
    threads(3)
    again = native.densecrf(values, mask, image, 20.0, 15.0, -3.0, order)
    assert torch.equal(again[0], gradient) and torch.equal(again[1], energies)


def test_everything_masked_is_zero(path) -> None:
    image, values = picture((1, 3, 20, 21)), scores((1, 5, 20, 21))
    gradient, energies = native.densecrf(values, torch.zeros(1, 1, 20, 21), image, 20.0, 15.0, -2.0)
    assert not gradient.any() and energies.item() == 0


def test_extreme_values(path) -> None:
    image = torch.tensor([0.0, 255.0]).repeat(1, 3, 20, 10)
    values = torch.full((1, 2, 20, 20), 1e30)
    found = native.lattice_filter(values, image, 20.0, 15.0)
    assert found.isfinite().all()
    far = image * 1e4
    found = native.lattice_filter(values, far, 20.0, 1e3)
    assert found.isfinite().all()


def test_backward_is_the_transpose_and_the_mean_is_symmetric(path) -> None:
    image, left = picture((1, 3, 30, 31)), scores((1, 3, 30, 31))
    right = scores((1, 3, 30, 31), seed=5)

    def product(a: torch.Tensor, b: torch.Tensor, order: int) -> float:
        return (a.double() * native.lattice_filter(b, image, 20.0, 15.0, order).double()).sum().item()

    forward = product(left, right, twin.FORWARD)
    assert product(right, left, twin.BACKWARD) == pytest.approx(forward, rel=1e-6)
    assert product(right, left, twin.FORWARD) != pytest.approx(forward, rel=1e-6)
    mean = product(left, right, twin.MEAN)
    assert product(right, left, twin.MEAN) == pytest.approx(mean, rel=1e-6)


def test_kept_lattices_equal_single_calls(threads) -> None:
    image = picture((2, 3, 25, 31))
    kept = native.Lattices(image, 20.0, 15.0)
    assert kept.vertices > 100
    for channels, order, count in ((21, twin.FORWARD, 1), (2, twin.BACKWARD, 3), (21, twin.MEAN, 2)):
        threads(count)
        values = scores((2, channels, 25, 31), seed=channels)
        expected = native.lattice_filter(values, image, 20.0, 15.0, order)
        assert torch.equal(kept.filter(values, order), expected)
    with pytest.raises(ValueError, match="for images"):
        kept.filter(scores((1, 2, 25, 31)))


@pytest.mark.parametrize("colours", range(5))
def test_exact_filter_equals_the_plain_sum(path, threads, colours) -> None:
    image = picture((2, colours, 19, 21)) if colours else torch.empty(2, 0, 19, 21)
    values = scores((2, 30, 19, 21)) - 0.02
    expected = torch.empty(values.shape, dtype=torch.float64)
    for n in range(2):
        y, x = torch.meshgrid(torch.arange(19.0), torch.arange(21.0), indexing="ij")
        points = torch.cat([torch.stack([x, y]) / 6, image[n] / 15]).flatten(1).t().double()
        kernel = (-0.5 * torch.cdist(points, points).square()).exp()
        expected[n] = (values[n].flatten(1).double() @ kernel).view_as(values[n])
    found = native.exact_filter(values, image, 6.0, 15.0, 0.0)
    assert relative(found, expected) <= 1e-6
    threads(3)
    assert torch.equal(native.exact_filter(values, image, 6.0, 15.0, 0.0), found)
    cutoff = 1e-3
    error = (native.exact_filter(values, image, 6.0, 15.0, cutoff) - expected).abs().amax((2, 3))
    assert (error <= cutoff * values.abs().sum((2, 3)) + 1e-4).all()


def test_exact_filter_skips_what_is_far() -> None:
    """Two halves that are 17 sigmas apart: with a cutoff they hear nothing of each other, not even 1e-60."""
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8:] = 255.0
    values = (image[:, :1] > 0).float()
    assert not native.exact_filter(values, image, 50.0, 15.0, 1e-6)[..., :8].any()


def test_threads_of_python_may_filter_at_once(threads) -> None:
    image, values = picture((2, 3, 40, 41)), scores((2, 21, 40, 41))
    expected = native.lattice_filter(values, image, 20.0, 15.0)
    results = []

    def work() -> None:
        torch.set_num_threads(2)
        results.extend(native.lattice_filter(values, image, 20.0, 15.0) for _ in range(5))

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 15 and all(torch.equal(result, expected) for result in results)


FORKED = """
import multiprocessing, sys, torch, warnings
from rlossctl.bilateral import bilateral_filter

warnings.simplefilter("ignore")  # some Pythons warn of any fork with threads around
torch.set_num_threads(2)
image = torch.arange(2 * 3 * 20 * 20.0).remainder(251).view(2, 3, 20, 20)
values = torch.rand(2, 5, 20, 20)
expected = bilateral_filter(values, image, 20, 15)  # OpenMP has its threads now


class Filtered(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return bilateral_filter(values, image, 20, 15)


def child(queue):
    torch.set_num_threads(2)
    queue.put(torch.equal(bilateral_filter(values, image, 20, 15), expected))


context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
process = context.Process(target=child, args=(queue,))
process.start()
process.join()
assert process.exitcode == 0 and queue.get()
loader = torch.utils.data.DataLoader(
    Filtered(), batch_size=None, num_workers=2, multiprocessing_context="fork"
)
assert all(torch.equal(result, expected) for result in loader)
print("filtered")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_and_a_loader_filter_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "filtered\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("colours", [1, 3, 4])
def test_the_kernel_and_the_twin_find_the_same_sigmas_too_small(colours) -> None:
    """Both lay out keys by one set of rules: the smallest sigma that one takes is the other's."""
    image, values = picture((1, colours, 9, 300)), scores((1, 2, 9, 300))

    def takes(kernel: ModuleType, sigma: float) -> bool:
        try:
            kernel.lattice_filter(values, image, sigma, sigma)
        except NetError as error:
            assert "sigma is too small" in str(error)
            return False
        return True

    low, high = 1e-4, 10.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if takes(twin, middle) else (middle, high)
    assert not takes(twin, low) and takes(twin, high)
    assert not takes(native, low) and takes(native, high)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_colours_that_are_not_finite_are_named(odd) -> None:
    image, values = picture((2, 3, 7, 8)), scores((2, 2, 7, 8))
    image[1, 2, 6, 7] = odd
    for build in (native.lattice_filter, twin.lattice_filter):
        with pytest.raises(NetError, match="NaN or infinity"):
            build(values, image, 20.0, 15.0)
    with pytest.raises(NetError, match="NaN or infinity"):
        native.Lattices(image, 20.0, 15.0)
    with pytest.raises(NetError, match="NaN or infinity"):
        native.densecrf(values, torch.ones(2, 1, 7, 8), image, 20.0, 15.0, -2.0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc/self/statm")
def test_memory_does_not_grow_from_call_to_call(threads) -> None:
    threads(2)
    image, values, mask = picture((2, 3, 60, 61)), scores((2, 21, 60, 61)), torch.ones(2, 1, 60, 61)

    def pages_after(calls: int) -> int:
        for _ in range(calls):
            native.densecrf(values, mask, image, 20.0, 15.0, -2.0, twin.MEAN)
            native.Lattices(image, 20.0, 15.0).filter(values)
        return int(Path("/proc/self/statm").read_text().split()[1])

    # A thread keeps memory from its first image on, whenever that comes; a leak shows each time.
    pages = [pages_after(20) for _ in range(6)]
    assert min(after - before for before, after in pairwise(pages)) < 64, pages


def test_unknown_instruction_set_is_a_clear_error(monkeypatch) -> None:
    monkeypatch.setenv("RLOSSCTL_SIMD", "mmx")
    ones = torch.ones(1, 1, 4, 4)
    with pytest.raises(UsageError, match="RLOSSCTL_SIMD"):
        bilateral_filter(ones, ones, 3, 3)


def test_the_reason_names_the_instruction_set(path, monkeypatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    assert choice.backend("cpu").reason.endswith(f"({path})")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("order", 3, "order must be"),
        ("colours", 5, "colours must be"),
        ("height", -1, "negative"),
        ("width", 1 << 29, "2\\^28"),
        ("sigma_rgb", 0.0, "sigma"),
        ("sigma_xy", float("nan"), "sigma"),
    ],
)
def test_the_module_checks_its_numbers(name, value, message) -> None:
    numbers = {
        "images": 1,
        "channels": 1,
        "colours": 1,
        "height": 2,
        "width": 2,
        "sigma_xy": 1.0,
        "sigma_rgb": 1.0,
        "order": 0,
        "threads": 1,
    }
    with pytest.raises(ValueError, match=message):
        find_native().needed().bilateral_filter(values=0, image=0, filtered=0, **{**numbers, name: value})
