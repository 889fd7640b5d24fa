"""The gated filter: its formula, the native kernel and the CUDA kernel against the torch twin."""

from __future__ import annotations

import pytest
import torch

from rlossctl.bilateral import choice, cuda, gated, native
from rlossctl.bilateral.gated import Pairs

# images, channels, height, width, groups, features, radius
SIZES = [
    (2, 21, 9, 11, 1, 3, 3),
    (1, 1, 1, 7, 1, 3, 2),
    (1, 3, 18, 1, 2, 1, 5),
    (2, 150, 3, 4, 1, 4, 1),
    (1, 4, 5, 6, 0, 0, 30),
    (3, 26, 4, 35, 2, 3, 2),
    (1, 2, 1, 1, 1, 3, 4),
]


@pytest.fixture
def sample():
    """sample(*one of SIZES, dtype): values [N, K, h, w] and pairs with gates of 0, 1 and in between."""

    def make(images, channels, height, width, groups, features, radius, dtype=torch.float32):
        generator = torch.Generator().manual_seed(channels + 10 * height + width)
        draw = lambda *shape: torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
        rows, columns = min(radius, height - 1), min(radius, width - 1)
        table = draw(1 + groups, 2 * rows + 1, 2 * columns + 1)
        table = table + table.flip(1, 2)  # the same for d and -d
        table[:, rows, columns] = 0
        gates = ((2 * draw(images, 1, height, width) - 0.5).clamp(0, 1) for _ in range(2))
        pairs = Pairs(2 * draw(groups, images, features, height, width), table, *gates)
        return draw(images, channels, height, width), pairs

    return make


def matrix(pairs: Pairs, height: int, width: int) -> torch.Tensor:
    """k of all pairs of pixels, [N, P, P], pixel by pixel from its definition."""
    rows, columns = (size // 2 for size in pairs.table.shape[1:])
    k = pairs.source.new_zeros(len(pairs.source), height * width, height * width)
    for i in range(height * width):
        for j in range(height * width):
            dy, dx = j // width - i // width, j % width - i % width
            if abs(dy) <= rows and abs(dx) <= columns:
                factors = pairs.table[:, rows + dy, columns + dx]
                apart = pairs.features.flatten(3)[..., i] - pairs.features.flatten(3)[..., j]  # [G, N, F]
                k[:, i, j] = factors[0] + (factors[1:, None] * (apart.square().sum(2) / -2).exp()).sum(0)
    return k


@pytest.mark.parametrize("sizes", [sizes for sizes in SIZES if sizes[2] * sizes[3] < 40])
def test_the_twin_is_the_formula(sample, sizes) -> None:
    values, pairs = sample(*sizes, dtype=torch.float64)
    k = matrix(pairs, *values.shape[2:])
    source, destination, flat = pairs.source.flatten(2), pairs.destination.flatten(2), values.flatten(2)
    expected = torch.einsum("nij,ncj->nci", k, source * flat) * destination
    torch.testing.assert_close(gated.gated_filter(values, pairs), expected.view(values.shape))
    weights = k * (destination.mT * source + source.mT * destination)
    gradient, energies = gated.gated_crf(values, pairs)
    torch.testing.assert_close(gradient, -torch.einsum("nij,ncj->nci", weights, flat).view(values.shape))
    unlike = 1 - torch.einsum("nci,ncj->nij", flat, flat)
    torch.testing.assert_close(energies, (weights * unlike).sum((1, 2)) / 2)


def agrees(module, values: torch.Tensor, pairs: Pairs) -> None:
    expected = gated.gated_filter(values, pairs), *gated.gated_crf(values, pairs)
    found = module.gated_filter(values, pairs), *module.gated_crf(values, pairs)
    scale = pairs.table.abs().sum().item() * pairs.source.numel()  # what the energies add up
    for one, other, close in zip(found, expected, (1e-5, 1e-5, 1e-6 * scale), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=close)


@pytest.mark.parametrize("simd", ["", "plain", "avx2", "avx512"])
@pytest.mark.parametrize("sizes", SIZES)
def test_native_equals_the_twin(sample, monkeypatch, sizes, simd) -> None:
    if choice.find_native().module is None:
        pytest.skip("needs the native module")
    monkeypatch.setenv("RLOSSCTL_SIMD", simd)
    try:
        choice.find_native().needed().simd()
    except ValueError:
        pytest.skip(f"this processor has no {simd}")
    agrees(native, *sample(*sizes))


@pytest.mark.parametrize("sizes", SIZES)
def test_cuda_equals_the_twin(kernels, sample, sizes) -> None:
    agrees(kernels, *sample(*sizes))


def test_no_number_of_threads_changes_a_bit(sample) -> None:
    if choice.find_native().module is None:
        pytest.skip("needs the native module")
    values, pairs = sample(*SIZES[0])
    expected = native.gated_crf(values, pairs)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        for found, one in zip(native.gated_crf(values, pairs), expected, strict=True):
            assert torch.equal(found, one)


@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_changes_a_bit(emulated_kernels, emulated, sample, seed) -> None:
    values, pairs = sample(2, 26, 17, 18, 1, 3, 3)
    expected = emulated_kernels.gated_crf(values, pairs)
    emulated.set_schedule(seed + 2)
    for found, one in zip(emulated_kernels.gated_crf(values, pairs), expected, strict=True):
        assert torch.equal(found, one)


def test_the_workspace_is_what_was_promised(emulated_kernels, sample, monkeypatch) -> None:
    values, pairs = sample(2, 26, 17, 18, 1, 3, 3)
    memories = []

    def memory(size: int, device: torch.device) -> torch.Tensor:
        memories.append(torch.full((size + 512,), 0x5A, dtype=torch.uint8, device=device))
        return memories[-1][256:-256]

    monkeypatch.setattr(cuda, "_memory", memory)
    agrees(emulated_kernels, values, pairs)
    assert len(memories) == 2
    for held in memories:
        assert (held[:256] == 0x5A).all() and (held[-256:] == 0x5A).all()
    monkeypatch.setattr(cuda, "_memory", lambda size, device: torch.empty(8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="workspace is too small"):
        emulated_kernels.gated_crf(values, pairs)


@pytest.mark.parametrize("module", ["emulated", "native"])
def test_windows_larger_than_the_image_are_refused(request, module) -> None:
    kernel = request.getfixturevalue("emulated") if module == "emulated" else choice.find_native().module
    if kernel is None:
        pytest.skip("needs the native module")
    memory = torch.zeros(64)
    place = memory.data_ptr()
    with pytest.raises(ValueError, match="window is larger"):
        pairs = kernel.Gated(place, place, place, place, 1, 1, 1, 3, 2, 2, 2, 1)
        kernel.gated_filter(place, pairs, place, *((place, 256, 0) if module == "emulated" else (1,)))


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [(12, 21, 65, 65, 1, 3, 5), (2, 150, 33, 129, 2, 3, 5)])
def test_larger_images_on_a_device(gpu_kernels, sample, sizes) -> None:
    values, pairs = sample(*sizes)
    on_device = Pairs(
        *(tensor.cuda() for tensor in (pairs.features, pairs.table, pairs.source, pairs.destination))
    )
    expected, found = gated.gated_crf(values, pairs), gpu_kernels.gated_crf(values.cuda(), on_device)
    again = gpu_kernels.gated_crf(values.cuda(), on_device)
    for one, other, same in zip(found, expected, again, strict=True):
        assert torch.equal(one, same)
        assert (one.cpu() - other).norm() <= 1e-5 * other.norm()
