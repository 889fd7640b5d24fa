"""What only the emulation of the CUDA kernels shows: schedules of the threads, and the workspace's borders.

Threads of a block change at barriers, in an order that set_schedule varies. Speed, the hardware's own
instructions and CUDA's memory model are not tested here.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from rlossctl.bilateral import cuda, twin


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("seed", range(8))
def test_no_schedule_changes_the_result(emulated_kernels, emulated, batch, seed) -> None:
    values, image = batch(2, 21, 3, 35, 37)
    expected = twin.lattice_filter(values, image, 30, 20)
    emulated.set_schedule(seed)
    assert relative(emulated_kernels.lattice_filter(values, image, 30, 20), expected) <= 1e-6


@pytest.mark.parametrize(
    "sizes", [(2, 21, 3, 41, 41), (1, 150, 3, 9, 7), (3, 4, 0, 20, 33), (1, 7, 4, 17, 18), (1, 2, 3, 1, 37)]
)
def test_deterministic_bits_do_not_depend_on_the_schedule(emulated_kernels, emulated, batch, sizes) -> None:
    values, image = batch(*sizes)
    mask = (values[:, :1] > 0.01).float()
    results = []
    for seed in (1, 2, 3):
        emulated.set_schedule(seed)
        results.append(emulated_kernels.densecrf(values, mask, image, 30, 15, -2, twin.MEAN, True))
    for gradient, energies in results[1:]:
        assert torch.equal(gradient, results[0][0]) and torch.equal(energies, results[0][1])


def test_a_large_batch_takes_several_passes(emulated_kernels, emulated, batch) -> None:
    one, many = (emulated.workspace_bytes(images, 21, 3, 40, 40, twin.MEAN, False) for images in (1, 5))
    assert many < 5 * one
    values, image = batch(5, 21, 3, 40, 40)
    mask = torch.ones(5, 1, 40, 40)
    together = emulated_kernels.densecrf(values, mask, image, 30, 15, 1, twin.MEAN, True)
    for n in range(5):
        alone = [tensor[n : n + 1] for tensor in (values, mask, image)]
        gradient, energies = emulated_kernels.densecrf(*alone, 30, 15, 1, twin.MEAN, True)
        assert torch.equal(gradient[0], together[0][n]) and torch.equal(energies[0], together[1][n])


def test_the_workspace_is_what_was_promised(emulated_kernels, batch, monkeypatch) -> None:
    """Guard bytes around the workspace stay, and what it held before does not matter."""
    guarded = []

    def workspace(values, image, order, deterministic):
        sizes = cuda._sizes(values, image)
        size = cuda.cuda_module().workspace_bytes(*sizes, order, deterministic)
        guarded.append(torch.full((size + 512,), 0x5A, dtype=torch.uint8))
        return guarded[-1][256:], size

    monkeypatch.setattr(cuda, "_lattice_workspace", workspace)
    values, image = batch(2, 7, 3, 19, 23)
    for order, deterministic in itertools.product((twin.FORWARD, twin.MEAN), (False, True)):
        expected = twin.lattice_filter(values, image, 30, 15, order)
        found = emulated_kernels.lattice_filter(values, image, 30, 15, order, deterministic)
        assert relative(found, expected) <= 1e-6
    assert len(guarded) == 4
    for memory in guarded:
        assert (memory[:256] == 0x5A).all() and (memory[-256:] == 0x5A).all()


def test_a_workspace_too_small_is_refused(emulated_kernels, batch, monkeypatch) -> None:
    values, image = batch(1, 3, 3, 8, 8)
    monkeypatch.setattr(cuda, "_lattice_workspace", lambda *arguments: (torch.empty(64), 256))
    with pytest.raises(ValueError, match="workspace is too small"):
        emulated_kernels.lattice_filter(values, image, 30, 15)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 3, 4, 4), "sizes must be positive"),
        ((1, 1, 5, 4, 4), "0 to 4 colours"),
        ((1, 1, 3, 4, 0), "sizes must be positive"),
        ((1, 1, 3, 2**20, 2**20), "too large"),
        ((2**20, 2**20, 3, 4, 4), "too large"),
    ],
)
def test_sizes_that_cannot_be(emulated, sizes, message) -> None:
    with pytest.raises(ValueError, match=message):
        emulated.workspace_bytes(*sizes, twin.FORWARD, False)
