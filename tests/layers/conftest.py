"""Building one-layer nets from text, and replaying cases that the original programs recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rlossctl.net import Net, Result

KEYS = {
    "prototxt",
    "phase",
    "note",
    "param",
    "bottom",
    "top",
    "blob",
    "topdiff",
    "grad",
    "paramgrad",
    "param_after",
    "step0",
    "step1",
    "step2",
}


@pytest.fixture(scope="session")
def replay(build: Callable[..., Net]) -> Callable[[Path], dict[str, float]]:
    """replay(path, dialect) runs a recorded case and gives the relative error of everything recorded."""
    return functools.partial(replay_case, build)


def replay_case(build: Callable[..., Net], path: Path, dialect: str = "auto") -> dict[str, float]:
    case = np.load(path)
    unknown = {key.split("/")[0] for key in case} - KEYS
    assert not unknown, f"{path.name} records {unknown}, which this replay does not compare"
    net = build(str(case["prototxt"]), str(case["phase"]), path.stem, dialect=dialect)
    set_params(net, case)
    errors: dict[str, float] = {}
    passes = sum(1 for step in ("step0", "step1", "step2") if any(key.startswith(step) for key in case))
    for step in range(passes - 1):
        net.run(inputs_of(case, f"step{step}/"))
        errors |= after(net, case, f"step{step}/")
    for _ in range(2 if path.stem.endswith("accumulate3") else 0):
        net.run(inputs_of(case))
    inputs = inputs_of(case)
    result = net.run(inputs, keep=True)
    blobs = [key for key in case if key.startswith(("top/", "blob/"))]
    errors |= {key: error(result.blobs[key.partition("/")[2]], case[key]) for key in blobs}
    errors |= after(net, case)
    if any(key.startswith(("grad/", "paramgrad/")) for key in case):
        objective(result, case).backward()
        errors |= gradients(net, inputs, case)
    return errors


def inputs_of(case: np.lib.npyio.NpzFile, prefix: str = "") -> dict[str, torch.Tensor]:
    names = [key.removeprefix(f"{prefix}bottom/") for key in case if key.startswith(f"{prefix}bottom/")]
    return {
        name: torch.tensor(case[f"{prefix}bottom/{name}"], requires_grad=f"grad/{name}" in case)
        for name in names
    }


@torch.no_grad()
def set_params(net: Net, case: np.lib.npyio.NpzFile) -> None:
    for key in case:
        if key.startswith("param/"):
            _, layer, index = key.split("/")
            net.params[layer][int(index)].copy_(torch.tensor(case[key]))


def objective(result: Result, case: np.lib.npyio.NpzFile) -> torch.Tensor:
    """A scalar whose gradient is what the original fed in from above."""
    fed = [(result.blobs[key[8:]] * torch.tensor(case[key])).sum() for key in case if key[:8] == "topdiff/"]
    return sum(fed, result.loss)


def gradients(net: Net, inputs: dict[str, torch.Tensor], case: np.lib.npyio.NpzFile) -> dict[str, float]:
    errors = {}
    for key in case:
        kind, _, name = key.partition("/")
        if kind == "grad":
            tensor = inputs[name]
        elif kind == "paramgrad":
            layer, index = name.split("/")
            tensor = net.params[layer][int(index)]
        else:
            continue
        errors[key] = error(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad, case[key])
    return errors


def after(net: Net, case: np.lib.npyio.NpzFile, prefix: str = "") -> dict[str, float]:
    """Errors of the weights (or statistics) after the pass."""
    errors = {}
    for key in case:
        if key.startswith(f"{prefix}param_after/"):
            layer, index = key.removeprefix(f"{prefix}param_after/").split("/")
            errors[key] = error(net.params[layer][int(index)], case[key])
    return errors


def error(found: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest expected magnitude; infinite for another shape or NaN."""
    array = found.detach().numpy().astype(np.float64)
    if array.shape != expected.shape or not np.isfinite(array).all():
        return float("inf")
    if not array.size:
        return 0.0
    return float(np.abs(array - expected).max() / max(np.abs(expected).max(), 1e-30))
