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
    "gradblob",
    "param_after",
    "step0",
    "step1",
    "step2",
}
ROUNDING = 1e-7


@pytest.fixture(scope="session")
def layer(build: Callable[..., Net]) -> Callable[..., Net]:
    """layer(kind, fields, *shapes, tops=1): a net of one layer "l", inputs "a", "b", ..., tops "t0", ..."""

    def one(kind: str, fields: str, *shapes: tuple[int, ...], tops: int = 1) -> Net:
        names = "abcdef"[: len(shapes)]
        text = "".join(
            f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
            for name, shape in zip(names, shapes, strict=True)
        )
        ends = "".join(f'bottom: "{name}" ' for name in names)
        ends += "".join(f'top: "t{number}" ' for number in range(tops))
        return build(f'{text}layer {{ name: "l" type: "{kind}" {ends} {fields} }}\n')

    return one


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
        blobs = net.run(inputs_of(case, f"step{step}/"), keep=True).blobs
        tops = f"step{step}/top/"
        errors |= {key: error(blobs[key.removeprefix(tops)], case[key]) for key in case if tops in key}
        errors |= after(net, case, f"step{step}/")
    for _ in range(2 if path.stem.endswith("accumulate3") else 0):
        net.run(inputs_of(case))
    inputs = inputs_of(case)
    result = net.run(inputs, keep=True)
    for key in case:
        kind, _, name = key.partition("/")
        if kind in ("top", "blob"):
            errors[key] = error(result.blobs[name], case[key])
        elif kind == "gradblob" and result.blobs[name].requires_grad:
            result.blobs[name].retain_grad()
    errors |= after(net, case)
    if any(key.startswith(("grad/", "gradblob/", "paramgrad/")) for key in case):
        if runs_backward(net, result):
            total = objective(result, case)
            if total.requires_grad:  # not where every top's gradient is recorded as absent
                total.backward()
            errors |= gradients(net, inputs, result.blobs, case)
        else:
            assert not any(case[key].any() for key in case if key.startswith(("grad", "paramgrad/")))
    return errors


def runs_backward(net: Net, result: Result) -> bool:
    """Caffe runs a layer backward if it lies under a loss, or if the net says force_backward."""
    return net.param.force_backward or bool(result.losses)


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


def gradients(
    net: Net,
    inputs: dict[str, torch.Tensor],
    blobs: dict[str, torch.Tensor],
    case: np.lib.npyio.NpzFile,
) -> dict[str, float]:
    errors = {}
    for key in case:
        kind, _, name = key.partition("/")
        if kind in ("grad", "gradblob"):
            tensor = (inputs if kind == "grad" else blobs)[name]
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
    """Largest difference, relative to the largest expected magnitude; infinite for another shape or NaN.

    Magnitudes below ROUNDING are sums that cancel (a softmax's gradient over its classes): absolute there.
    """
    array = found.detach().numpy().astype(np.float64)
    if array.shape != expected.shape or not np.isfinite(array).all():
        return float("inf")
    if not array.size:
        return 0.0
    scale = np.abs(expected).max()
    return float(np.abs(array - expected).max() / (scale if scale > ROUNDING else 1))
