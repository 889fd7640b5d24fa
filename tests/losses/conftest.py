"""Recorded losses, and what every loss has to bear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

Loss = Callable[..., Tensor]


@pytest.fixture
def recorded(golden: Path, request: pytest.FixtureRequest) -> Callable[[str, str], dict[str, np.ndarray]]:
    """recorded(folder, name): a case's arrays by key, from the repository or the reference material."""

    def load(folder: str, name: str) -> dict[str, np.ndarray]:
        path = golden / "losses" / folder / f"{name}.npz"
        if not path.is_file():
            path = request.getfixturevalue("shared") / "golden" / "losses" / folder / f"{name}.npz"
        with np.load(path) as case:
            return dict(case)

    return load


@pytest.fixture(scope="session")
def reproduces() -> Callable[..., None]:
    """reproduces(loss, x, value, gradient): float64 to 1e-10 and 1e-6 (the gradient is stored as float32),
    float32 to 1e-5 and 1e-4 of the largest gradient, at the array x. `exact` is another figure for 1e-10,
    where x itself was rounded to float32 when it was recorded."""

    def check(
        loss: Loss, x: np.ndarray, value: np.ndarray, gradient: np.ndarray, exact: float = 1e-10
    ) -> None:
        for dtype, close, slope in ((torch.float64, exact, 1e-6), (torch.float32, 1e-5, 1e-4)):
            at = torch.tensor(x, dtype=dtype, requires_grad=True)
            found = loss(at)
            found.backward()
            assert found.dtype == dtype and found.shape == ()
            assert found.item() == pytest.approx(float(value), rel=close, abs=1e-12)
            largest = np.abs(gradient).max()
            assert np.abs(at.grad.numpy() - gradient).max() <= slope * largest + 1e-30

    return check


@pytest.fixture(scope="session")
def bears() -> Callable[[Loss, Tensor], None]:
    """bears(loss, x): half types and autocast compute in float32, and no argument is changed.

    `loss` takes a floating-point x alone and gives a finite value.
    """

    def check(loss: Loss, x: Tensor) -> None:
        before = x.clone()
        expected = loss(x.float())
        assert torch.isfinite(expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(x.float()), expected)
        for dtype in (torch.float16, torch.bfloat16):
            half = x.to(dtype).requires_grad_()
            found = loss(half)
            found.backward()
            assert found.dtype == torch.float32 and torch.equal(found, loss(half.detach().float()))
            assert half.grad.dtype == dtype and torch.isfinite(half.grad).all()
        assert torch.equal(x, before)

    return check


@pytest.fixture
def draw() -> Callable[..., tuple[Tensor, Tensor]]:
    """draw(N, C, h, w): float64 scores, and labels of all classes, of which about a fifth are 255."""

    def make(images: int, classes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(classes * 100 + height)
        scores = 2 * torch.randn(images, classes, height, width, generator=generator, dtype=torch.float64)
        labels = torch.randint(classes, (images, height, width), generator=generator)
        ignored = torch.rand(images, height, width, generator=generator) < 0.2
        return scores, labels.masked_fill(ignored, 255)

    return make
