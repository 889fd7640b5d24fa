"""Which kernel is chosen, and what is said about it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

from rlossctl.bilateral import FallbackWarning, backend, bilateral_filter, choice
from rlossctl.errors import UsageError


@pytest.fixture
def no_native(monkeypatch) -> str:
    reason = "the native module cannot be imported (a test says so)"
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    monkeypatch.setattr(choice, "find_native", lambda: choice.Compiled(None, reason))
    choice._warn_once.cache_clear()
    yield reason
    choice._warn_once.cache_clear()


@pytest.fixture
def with_native(monkeypatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    module = SimpleNamespace(simd=lambda: "avx2")
    monkeypatch.setattr(choice, "find_native", lambda: choice.Compiled(module))


def test_native_on_the_cpu(with_native) -> None:
    assert backend("cpu") == choice.Backend("native-cpu", "the native module is built (avx2)")


def test_twin_on_another_device_keeps_the_reason(with_native) -> None:
    chosen = backend(torch.device("mps"))
    assert chosen.name == "torch-twin"
    assert "no native kernel for mps" in chosen.reason


def test_twin_where_native_is_missing(no_native) -> None:
    assert backend("cpu") == choice.Backend("torch-twin", no_native)


def test_says_so_once(no_native) -> None:
    ones = torch.ones(1, 1, 4, 4)
    with pytest.warns(FallbackWarning, match="a test says so") as caught:
        bilateral_filter(ones, ones, 3, 3)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bilateral_filter(ones, ones, 3, 3)


def test_forced_twin_is_silent(no_native, monkeypatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "twin")
    ones = torch.ones(1, 1, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bilateral_filter(ones, ones, 3, 3)
    assert "forced" in backend("cpu").reason


def test_forced_native_must_be_there(no_native, monkeypatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "native")
    with pytest.raises(UsageError, match="a test says so"):
        backend("cpu")


def test_unknown_kernel(monkeypatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "fastest")
    with pytest.raises(UsageError, match="fastest"):
        backend("cpu")
