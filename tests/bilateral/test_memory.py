"""Memory that is kept for large results: used again, but never while somebody holds it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from rlossctl.bilateral import memory
from rlossctl.losses import densecrf_loss


@pytest.fixture(autouse=True)
def from_nothing(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "SMALLEST", 100)
    memory.release()
    yield
    memory.release()


def test_returns_with_the_last_tensor_over_it() -> None:
    first = memory.empty_like(torch.empty(2, 3, 50))
    place, part = first.data_ptr(), first[1, 0].detach()
    del first
    part.fill_(7)
    other = memory.empty_like(torch.empty(300))
    other.fill_(1)
    assert other.data_ptr() != place
    assert (part == 7).all()
    del part
    gc.collect()
    assert memory.empty_like(torch.empty(290)).data_ptr() == place


def test_pieces_that_do_not_fit_stay_for_others() -> None:
    place = memory.empty_like(torch.empty(400)).data_ptr()
    for count in (401, 199):
        kept = memory.empty_like(torch.empty(count))
        assert kept.data_ptr() != place
    assert memory.empty_like(torch.empty(20, 20)).data_ptr() == place


def test_keeps_few_pieces() -> None:
    held = [memory.empty_like(torch.empty(200)) for _ in range(memory.KEPT + 2)]
    assert len({tensor.data_ptr() for tensor in held}) == len(held)
    held.clear()
    gc.collect()
    assert len(memory._free) == memory.KEPT


def test_small_ones_are_torchs() -> None:
    memory.empty_like(torch.empty(99))
    assert not memory._free


def test_a_gradient_that_is_held_is_not_written_again() -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 9, 9, generator=generator) * 255
    seg = torch.randn(1, 4, 9, 9, generator=generator).softmax(1).requires_grad_()
    mask = torch.ones(1, 1, 9, 9)
    densecrf_loss(image, seg, mask, 5, 15).backward()
    kept, before = seg.grad, seg.grad.clone()
    seg.grad = None
    densecrf_loss(image + 9 * torch.rand(image.shape, generator=generator), seg, mask, 5, 15).backward()
    assert torch.equal(kept, before)
    assert not torch.equal(seg.grad, before)
