"""When the CUDA kernels are chosen, and how dispatch.py hands them their work. No GPU is needed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from rlossctl.bilateral import backend, choice, cuda, dispatch, twin


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    choice.find_cuda.cache_clear()
    yield
    choice.find_cuda.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, unusable: str) -> None:
    module = ModuleType("rlossctl._native_cuda")
    module.why_unusable = lambda: unusable
    monkeypatch.setitem(sys.modules, "rlossctl._native_cuda", module)
    monkeypatch.setattr("rlossctl._native_cuda", module, raising=False)


def test_chosen_where_module_and_device_are(monkeypatch) -> None:
    install(monkeypatch, "")
    assert backend("cuda:1") == choice.Backend("native-cuda", "the CUDA module is built")


def test_twin_where_there_is_no_device(monkeypatch) -> None:
    install(monkeypatch, "no CUDA device: there is no driver")
    chosen = backend("cuda")
    assert chosen.name == "torch-twin"
    assert "no CUDA device" in chosen.reason


def test_twin_where_the_module_is_not_built(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rlossctl._native_cuda", None)
    monkeypatch.delattr("rlossctl._native_cuda", raising=False)
    chosen = backend("cuda")
    assert chosen.name == "torch-twin"
    assert "built if nvcc is found" in chosen.reason


def test_the_built_module_can_be_imported_without_a_gpu() -> None:
    module = pytest.importorskip(
        "rlossctl._native_cuda", reason="built without nvcc", exc_type=ModuleNotFoundError
    )
    if not torch.cuda.is_available():
        assert module.why_unusable()
    assert module.workspace_bytes(12, 21, 3, 257, 257, twin.FORWARD, False) > 0


@pytest.mark.parametrize(("mode", "order"), [("lattice", 0), ("transposed", 1), ("symmetric", 2)])
def test_dispatch_hands_over_without_looking_at_the_image(monkeypatch, mode, order) -> None:
    """The colours' range would have to come from the device: nobody may ask for it."""
    monkeypatch.setattr(dispatch, "backend", lambda device: choice.Backend("native-cuda", "a test says so"))
    monkeypatch.setattr(dispatch, "colour_range", lambda *arguments: pytest.fail("looks at the image"))
    monkeypatch.setattr(
        dispatch, "cuda", SimpleNamespace(lattice_filter=record, densecrf=record, Lattices=Recorded)
    )
    values, mask, image = torch.ones(1, 2, 3, 3), torch.ones(1, 1, 3, 3), torch.ones(1, 3, 3, 3)
    assert dispatch.filtered(values, image, 5, 6, mode) == (values, image, 5, 6, order)
    assert dispatch.energy(values, mask, image, 5, 6, mode, -2) == (values, mask, image, 5, 6, -2, order)
    assert dispatch.prepare(image, 5, 6, mode)(values) == (image, 5, 6, values, order)


def record(*arguments: object) -> tuple[object, ...]:
    return arguments


class Recorded:
    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def filter(self, *arguments: object) -> tuple[object, ...]:
        return *self.arguments, *arguments


def test_float64_takes_the_twin(monkeypatch) -> None:
    monkeypatch.setattr(dispatch, "backend", lambda device: choice.Backend("native-cuda", "a test says so"))
    monkeypatch.setattr(dispatch, "cuda", None)
    values, image = torch.ones(1, 2, 3, 3).double(), torch.ones(1, 3, 3, 3).double()
    assert dispatch.filtered(values, image, 5, 6, "lattice").dtype == torch.float64


def test_determinism_follows_torch(monkeypatch) -> None:
    assert cuda._deterministic(None) is False
    assert cuda._deterministic(True) is True
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert cuda._deterministic(None) is True
    assert cuda._deterministic(False) is False
