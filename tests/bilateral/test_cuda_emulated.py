"""The CUDA kernels, compiled for the CPU against native/cuda/emulate.hpp and held against the torch twin.

What runs here is the kernels' own source with the launches, the workspace and the module around it; threads of a
block change at barriers in an order that set_schedule varies. The speed, the hardware's own instructions and
CUDA's memory model are not tested: see test_cuda.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rlossctl.bilateral import cuda, exact, twin
from rlossctl.bilateral.packing import pack

FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
DEFINES = ["-DRLOSSCTL_EMULATE", "-DRLOSSCTL_MODULE=_emulated_cuda"]
SOURCES = ["filter.cu", "exact.cu", "plan.cu", "device.cu", "emulate.cpp", "module.cpp"]


@pytest.fixture(scope="session")
def emulated(repository: Path, request: pytest.FixtureRequest) -> ModuleType:
    """The module rlossctl._native_cuda, emulated; compiled once for each state of its source."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    pybind11 = pytest.importorskip("pybind11")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C++ compiler (g++, or what CXX names)")
    room = repository / "native/cuda"
    headers = [sysconfig.get_path("include"), pybind11.get_include()]
    command = [compiler, *FLAGS, *DEFINES, *(f"-isystem{folder}" for folder in headers)]
    state = hashlib.sha256(repr((command, sys.version)).encode())
    for path in sorted(room.iterdir()):
        state.update(path.read_bytes())
    built = request.config.cache.mkdir("cuda-emulation") / f"{state.hexdigest()[:16]}.so"
    if not built.exists():
        compile_module(command, room, built)
    spec = importlib.util.spec_from_file_location("_emulated_cuda", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_module(command: list[str], room: Path, built: Path) -> None:
    scratch = built.with_suffix(f".{os.getpid()}")
    scratch.mkdir()
    running = []
    for name in SOURCES:
        arguments = ["-x", "c++", "-c", str(room / name), "-o", str(scratch / f"{name}.o")]
        running.append(subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True))
    errors = [process.communicate()[1] for process in running]
    assert not any(process.returncode for process in running), "".join(errors)
    objects = [str(scratch / f"{name}.o") for name in SOURCES]
    subprocess.run([command[0], "-shared", *objects, "-o", str(scratch / "module.so")], check=True)
    (scratch / "module.so").replace(built)
    shutil.rmtree(scratch)


@pytest.fixture
def kernels(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """rlossctl.bilateral.cuda with the emulated module below it, for tensors on the CPU."""
    monkeypatch.setattr(cuda, "cuda_module", lambda: emulated)
    monkeypatch.setattr(cuda, "_current_stream", lambda device: contextlib.nullcontext(0))
    emulated.set_schedule(1)
    return cuda


def random_batch(
    images: int, channels: int, colours: int, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [N, K, H, W] and patches of noisy colour 0..255, [N, C, H, W]."""
    generator = torch.Generator().manual_seed(images + 10 * channels + 100 * height + width)
    coarse = torch.rand(images, colours, -(-height // 5), -(-width // 5), generator=generator)
    smooth = coarse.repeat_interleave(5, 2).repeat_interleave(5, 3)[..., :height, :width]
    noise = torch.rand(images, colours, height, width, generator=generator)
    values = torch.randn(images, channels, height, width, generator=generator).softmax(dim=1)
    return values, ((0.8 * smooth + 0.2 * noise) * 255).round()


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


SIZES = [
    # images, channels, colours, height, width, sigma_xy, sigma_rgb
    (1, 1, 3, 1, 1, 5, 5),
    (2, 21, 3, 41, 41, 100, 15),
    (1, 150, 3, 9, 7, 5, 20),
    (3, 4, 0, 20, 33, 3, 1),
    (1, 3, 1, 16, 16, 4, 9),
    (2, 6, 2, 18, 31, 4, 9),
    (1, 7, 4, 17, 18, 4, 30),
    (1, 2, 3, 1, 37, 0.5, 2),
    (2, 5, 3, 33, 5, 0.5, 0.3),
]


@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
@pytest.mark.parametrize("order", [twin.FORWARD, twin.BACKWARD, twin.MEAN], ids=["forward", "backward", "mean"])
@pytest.mark.parametrize("case", SIZES, ids=lambda case: "x".join(map(str, case[:5])))
def test_lattice_equals_the_twin(kernels, case, order, deterministic) -> None:
    *sizes, sigma_xy, sigma_rgb = case
    values, image = random_batch(*sizes)
    packing = pack(image, sigma_xy, sigma_rgb)
    expected = twin.lattice_filter(values, image, sigma_xy, sigma_rgb, packing, order)
    found = kernels.lattice_filter(values, image, sigma_xy, sigma_rgb, order, deterministic)
    assert relative(found, expected) <= 1e-6


@pytest.mark.parametrize("case", SIZES, ids=lambda case: "x".join(map(str, case[:5])))
def test_deterministic_bits_do_not_depend_on_the_schedule(kernels, emulated, case) -> None:
    *sizes, sigma_xy, sigma_rgb = case
    values, image = random_batch(*sizes)
    mask = (values[:, :1] > 0.01).float()
    results = []
    for seed in (1, 2, 3):
        emulated.set_schedule(seed)
        arguments = values, mask, image, sigma_xy, sigma_rgb, -2, twin.MEAN, True
        results.append(kernels.densecrf(*arguments))
    for gradient, energies in results[1:]:
        assert torch.equal(gradient, results[0][0]) and torch.equal(energies, results[0][1])


@pytest.mark.parametrize("seed", range(8))
def test_no_schedule_changes_the_result(kernels, emulated, seed) -> None:
    values, image = random_batch(2, 21, 3, 35, 37)
    expected = twin.lattice_filter(values, image, 30, 20, pack(image, 30, 20))
    emulated.set_schedule(seed)
    assert relative(kernels.lattice_filter(values, image, 30, 20), expected) <= 1e-6


@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
@pytest.mark.parametrize("order", [twin.FORWARD, twin.BACKWARD, twin.MEAN], ids=["forward", "backward", "mean"])
def test_densecrf_is_the_masked_filter(kernels, order, deterministic) -> None:
    values, image = random_batch(3, 9, 3, 22, 19)
    mask = torch.rand(3, 1, 22, 19, generator=torch.Generator().manual_seed(0)).mul(2).clamp(max=1)
    masked = values * mask
    filtered = twin.lattice_filter(masked, image, 30, 20, pack(image, 30, 20), order)
    gradient, energies = kernels.densecrf(values, mask, image, 30, 20, -0.5, order, deterministic)
    assert relative(gradient, -0.5 * mask * filtered) <= 1e-6
    assert energies.dtype == torch.float64
    assert relative(energies, (masked.double() * filtered.double()).sum((1, 2, 3))) <= 1e-6
    nothing, alone = kernels.densecrf(
        values, mask, image, 30, 20, -0.5, order, deterministic, with_gradient=False
    )
    assert nothing is None and relative(alone, energies) <= 1e-6


@pytest.mark.parametrize("name", ["crf_41", "crf_anisotropic", "crf_default_params", "crf_padded", "crf_small"])
def test_recorded_losses(kernels, golden, name) -> None:
    """Arrays of the original program (tests/golden/densecrf)."""
    case = np.load(golden / f"densecrf/{name}.npz")
    data, seg = torch.from_numpy(case["data"]), torch.from_numpy(case["seg"])
    mask = (data.abs() >= 1).any(dim=1, keepdim=True).float()
    sigmas = float(case["sigma_xy"]), float(case["sigma_rgb"])
    gradient, energies = kernels.densecrf(seg, mask, data, *sigmas, -2 / len(seg))
    assert -energies.sum().item() / len(seg) == pytest.approx(float(case["loss"]), rel=1e-5)
    assert relative(gradient, torch.from_numpy(case["grad"])) <= 2e-5


@pytest.mark.parametrize(("sigma_xy", "sigma_rgb"), [(30, 1e-3), (1e-6, 15), (0.02, 0.02)])
@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
def test_sigma_too_small_for_the_keys_gives_nan(kernels, sigma_xy, sigma_rgb, deterministic) -> None:
    values, image = random_batch(2, 3, 3, 40, 40)
    order = twin.MEAN
    found = kernels.lattice_filter(values, image, sigma_xy, sigma_rgb, order, deterministic)
    assert found.isnan().all()
    mask = torch.zeros(2, 1, 40, 40)
    gradient, energies = kernels.densecrf(values, mask, image, sigma_xy, sigma_rgb, 1, order, deterministic)
    assert gradient.isnan().all() and energies.isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_image_that_is_not_finite_gives_nan(kernels, bad) -> None:
    values, image = random_batch(2, 3, 3, 17, 18)
    image[0, 1, 16, 3] = bad
    assert kernels.lattice_filter(values, image, 30, 15).isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_stays_in_its_channel(kernels, bad) -> None:
    values, image = random_batch(2, 6, 3, 17, 18)
    expected = kernels.lattice_filter(values, image, 30, 15, twin.FORWARD, True)
    values[1, 4, 8, 8] = bad
    fast = kernels.lattice_filter(values, image, 30, 15)
    assert not fast[1, 4, 8, 8].isfinite()
    fixed = kernels.lattice_filter(values, image, 30, 15, twin.FORWARD, True)
    assert fixed[1, 4].isnan().all()
    fixed[1, 4] = expected[1, 4]
    assert torch.equal(fixed, expected)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_deterministic_sums_follow_the_magnitude(kernels, scale) -> None:
    values, image = random_batch(1, 5, 3, 30, 20)
    expected = twin.lattice_filter(values, image, 30, 15, pack(image, 30, 15)) * scale
    assert relative(kernels.lattice_filter(values * scale, image, 30, 15, twin.FORWARD, True), expected) <= 1e-6


def test_a_large_batch_takes_several_passes(kernels, emulated) -> None:
    one, many = (emulated.workspace_bytes(images, 21, 3, 40, 40, twin.MEAN, False) for images in (1, 5))
    assert many < 5 * one
    values, image = random_batch(5, 21, 3, 40, 40)
    mask = torch.ones(5, 1, 40, 40)
    together = kernels.densecrf(values, mask, image, 30, 15, 1, twin.MEAN, True)
    for n in range(5):
        alone = [tensor[n : n + 1] for tensor in (values, mask, image)]
        gradient, energies = kernels.densecrf(*alone, 30, 15, 1, twin.MEAN, True)
        assert torch.equal(gradient[0], together[0][n]) and torch.equal(energies[0], together[1][n])


def test_the_workspace_is_what_was_promised(kernels, monkeypatch) -> None:
    """Guard bytes around the workspace stay, whatever it held before."""
    guarded = []

    def workspace(values, image, order, deterministic):
        size = kernels.cuda_module().workspace_bytes(*kernels._sizes(values, image), order, deterministic)
        memory = torch.full((size + 512,), 0x5A, dtype=torch.uint8)
        guarded.append(memory)
        return memory[256:], size

    monkeypatch.setattr(cuda, "_lattice_workspace", workspace)
    values, image = random_batch(2, 7, 3, 19, 23)
    expected = twin.lattice_filter(values, image, 30, 15, pack(image, 30, 15))
    for order, deterministic in itertools.product((twin.FORWARD, twin.MEAN), (False, True)):
        found = kernels.lattice_filter(values, image, 30, 15, order, deterministic)
        if order == twin.FORWARD:
            assert relative(found, expected) <= 1e-6
    for memory in guarded:
        assert (memory[:256] == 0x5A).all() and (memory[-256:] == 0x5A).all()


def test_a_workspace_too_small_is_refused(kernels, monkeypatch) -> None:
    values, image = random_batch(1, 3, 3, 8, 8)
    monkeypatch.setattr(cuda, "_lattice_workspace", lambda *arguments: (torch.empty(64), 256))
    with pytest.raises(ValueError, match="workspace is too small"):
        kernels.lattice_filter(values, image, 30, 15)


@pytest.mark.parametrize(
    "sizes", [(0, 1, 3, 4, 4), (1, 1, 5, 4, 4), (1, 1, 3, 4, 0), (1, 1, 3, 2**20, 2**20), (2**20, 2**20, 3, 4, 4)]
)
def test_sizes_that_cannot_be(emulated, sizes) -> None:
    with pytest.raises(ValueError, match="sizes|too large"):
        emulated.workspace_bytes(*sizes, twin.FORWARD, False)


@pytest.mark.parametrize(
    "sizes", [(2, 3, 3, 37, 21), (1, 50, 3, 17, 9), (1, 4, 0, 20, 33), (2, 2, 1, 16, 16), (1, 2, 4, 1, 1)]
)
def test_exact_equals_its_twin(kernels, sizes) -> None:
    values, image = random_batch(*sizes)
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
def test_exact_shows_an_image_that_is_not_finite(kernels, bad) -> None:
    values, image = random_batch(1, 2, 3, 20, 40)
    image[0, 0, 3, 3] = bad
    found = kernels.exact_filter(values, image, 20, 25, exact.cutoff(values))
    assert found[0, :, 3, 3].isnan().all()
