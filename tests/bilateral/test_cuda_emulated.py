"""What only the emulation of the CUDA kernels shows: schedules of the threads, and the workspace's borders.

Threads of a block change at barriers, in an order that set_schedule varies. Speed, the hardware's own
instructions and CUDA's memory model are not tested here.
"""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch

from rlossctl.bilateral import choice, cuda, dispatch, mean_field, twin


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("seed", range(8))
def test_no_schedule_changes_the_result(emulated_kernels, emulated, batch, seed) -> None:
    values, image = batch(2, 21, 3, 35, 37)
    expected = twin.lattice_filter(values, image, 30, 20)
    emulated.set_schedule(seed)
    assert relative(emulated_kernels.lattice_filter(values, image, 30, 20), expected) <= 1e-6


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.fixture
def guarded(monkeypatch) -> list[torch.Tensor]:
    """All memory that the kernels get, with 256 guard bytes on either side; what it holds does not matter."""
    memories = []

    def memory(size: int, device: torch.device) -> torch.Tensor:
        memories.append(torch.full((size + 512,), 0x5A, dtype=torch.uint8, device=device))
        return memories[-1][256:-256]

    monkeypatch.setattr(cuda, "_memory", memory)
    return memories


def assert_guards_stand(memories: list[torch.Tensor], count: int) -> None:
    assert len(memories) == count
    for memory in memories:
        assert (memory[:256] == 0x5A).all() and (memory[-256:] == 0x5A).all()


def test_the_workspace_is_what_was_promised(emulated_kernels, batch, guarded) -> None:
    values, image = batch(2, 7, 3, 19, 23)
    for order, deterministic in itertools.product((twin.FORWARD, twin.MEAN), (False, True)):
        expected = twin.lattice_filter(values, image, 30, 15, order)
        found = emulated_kernels.lattice_filter(values, image, 30, 15, order, deterministic)
        assert relative(found, expected) <= 1e-6
    assert_guards_stand(guarded, 4)


def test_kept_lattices_stay_within_what_was_promised(emulated_kernels, emulated, batch, guarded) -> None:
    """Three images in two parts; filtering leaves the kept memory as it is."""
    values, image = batch(3, 7, 3, 19, 23)
    assert emulated.kept_images(*image.shape) == 2
    lattices = emulated_kernels.Lattices(image, 30, 15)
    built = [memory.clone() for memory in guarded]
    for order, deterministic in itertools.product((twin.FORWARD, twin.MEAN), (False, True)):
        expected = twin.lattice_filter(values, image, 30, 15, order)
        assert relative(lattices.filter(values, order, deterministic), expected) <= 1e-6
    assert_guards_stand(guarded, 2 + 4 * 2)
    for before, after in zip(built, guarded[:2], strict=True):
        assert torch.equal(before, after)


def test_both_parts_make_the_workspace(emulated) -> None:
    sizes, order = (3, 19, 23), (twin.MEAN, True)
    lattice = emulated.lattice_bytes(1, *sizes)
    for channels in (1, 21):
        rows = emulated.rows_workspace_bytes(1, channels, *sizes, *order)
        assert emulated.workspace_bytes(1, channels, *sizes, *order) == lattice + rows


def test_filtering_keeps_hold_of_what_other_streams_allocated(emulated_kernels, batch, monkeypatch) -> None:
    values, image = batch(3, 2, 3, 30, 23)
    lattices = emulated_kernels.Lattices(image, 30, 15)
    held = []

    def current_stream(device: torch.device, *kept: torch.Tensor) -> contextlib.nullcontext:
        held.extend(memory.data_ptr() for memory in kept)
        return contextlib.nullcontext(0)

    monkeypatch.setattr(cuda, "_current_stream", current_stream)
    lattices.filter(values)
    assert held == [memory.data_ptr() for memory in lattices._kept] and len(held) == 3


@pytest.mark.slow
def test_mean_field_builds_each_lattice_once(emulated_kernels, emulated, batch, monkeypatch) -> None:
    scores, image = batch(2, 4, 3, 12, 14)
    expected = mean_field(scores, image, 5, pos=[(3, 2.0)], bi=[(20, 15, 4.0)])
    monkeypatch.setattr(dispatch, "backend", lambda device: choice.Backend("native-cuda", "emulated"))
    calls = []

    class Counted:
        def __getattr__(self, name: str) -> object:
            calls.append(name)
            return getattr(emulated, name)

    monkeypatch.setattr(cuda, "_kernel", Counted)
    q = mean_field(scores, image, 5, pos=[(3, 2.0)], bi=[(20, 15, 4.0)])
    torch.testing.assert_close(q, expected, rtol=1e-5, atol=1e-6)
    assert calls.count("build_lattice") == 2 and calls.count("apply_lattice") == 2 * (5 + 1)
    assert "bilateral_filter" not in calls


def test_a_workspace_too_small_is_refused(emulated_kernels, batch, monkeypatch) -> None:
    values, image = batch(1, 3, 3, 8, 8)
    lattices = emulated_kernels.Lattices(image, 30, 15)
    monkeypatch.setattr(cuda, "_memory", lambda size, device: torch.empty(256, dtype=torch.uint8))
    with pytest.raises(ValueError, match="workspace is too small"):
        emulated_kernels.lattice_filter(values, image, 30, 15)
    with pytest.raises(ValueError, match="workspace is too small"):
        lattices.filter(values)
    with pytest.raises(ValueError, match="lattice's memory is too small"):
        emulated_kernels.Lattices(image, 30, 15)


def test_too_many_images_for_one_lattice_are_refused(emulated) -> None:
    assert emulated.kept_images(2, 3, 200, 200) == 1
    with pytest.raises(ValueError, match="too many images"):
        emulated.lattice_bytes(2, 3, 200, 200)


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
