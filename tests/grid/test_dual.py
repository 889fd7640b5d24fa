"""Dual decomposition against recordings, enumeration and its own bound."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.grid import Grid, chains, dual, dual_decomposition, linear_grids
from rlossctl.grid.chains import chain_marginals, marginals_twin

IN_DOUBLE = ("c3_7x9_s12_hard_k5", "c3_1x13_s12_g2_k5_fixed", "c4_10x11_s123_g2_k3")
TYPES = [(torch.float64, 1e-10, 1e-6), (torch.float32, 2e-6, 2e-5)]


def far(found: Tensor, expected: np.ndarray, least: float = 1e-30) -> float:
    """The largest difference over the largest value, or over `least`."""
    if not expected.size:
        return 0.0
    return float(np.abs(found.detach().numpy() - expected).max() / max(np.abs(expected).max(), least))


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def grids(images: int, classes: int, height: int, width: int, strides: tuple[int, ...]) -> list[Grid]:
    return [
        Grid(
            stride,
            draw((images, classes, classes, height, max(width - stride, 0)), stride),
            draw((images, classes, classes, max(height - stride, 0), width), stride + 9),
        )
        for stride in strides
    ]


def recorded(shared, pattern: str):
    files = sorted((shared / "golden/losses/ddd").glob(pattern))
    assert files
    for file in files:
        with np.load(file) as case:
            yield file.stem, dict(case), json.loads(str(case["params"]))


@pytest.mark.parametrize(("dtype", "close", "slope"), TYPES)
def test_recorded_decompositions(shared, dtype, close, slope):
    for name, case, param in recorded(shared, "c*.npz"):
        if dtype == torch.float64 and name not in IN_DOUBLE:
            continue  # its plain operations would take seconds
        given = {
            key[3:]: torch.tensor(value, dtype=dtype, requires_grad=True)
            for key, value in case.items()
            if key.startswith("in/")
        }
        pairs = [Grid(q, given[f"pairwise_h_{q}"], given[f"pairwise_v_{q}"]) for q in param["strides"]]
        hard = param["gamma"] < 0
        given["gamma"] = torch.tensor(param["gamma"], dtype=dtype, requires_grad=True)
        found = dual_decomposition(given["unary"], pairs, param["iterations"], 0 if hard else given["gamma"])
        (found.scores * given["cotangent"].detach()).sum().backward()
        assert far(found.scores, case["out/logits"]) < close, name
        assert far(found.rows, case["out/marginals_h"]) < close, name
        assert far(found.columns, case["out/marginals_v"]) < close, name
        assert far(found.dual.sum(0), case["out/dual"]) < close, name
        assert np.array_equal(found.disagreement.numpy(), case["out/disagreement"]), name
        for key in case:
            if key.startswith("grad/"):
                grad = given[key[5:]].grad
                grad = torch.zeros_like(given[key[5:]]) if grad is None else grad
                assert far(grad, case[key]) < slope, (name, key)


@pytest.mark.parametrize(("dtype", "close", "slope"), TYPES)
def test_recorded_chains(shared, dtype, close, slope):
    for name, case, param in recorded(shared, "dp_call_*.npz"):
        for way, order, pairs in (("h", (0, 3, 1, 2), (0, 4, 1, 2, 3)), ("v", (0, 2, 1, 3), (0, 3, 1, 2, 4))):
            unary, pairwise = (
                torch.tensor(case[f"in/{key}_{way}"], dtype=dtype, requires_grad=True)
                for key in ("unary", "pairwise")
            )
            warmth = None if param["gamma"] < 0 else torch.tensor(param["gamma"], dtype=dtype)
            found = chain_marginals(unary.permute(order), pairwise.permute(pairs), warmth, 1)
            back = found.permute((0, 2, 3, 1) if way == "h" else (0, 2, 1, 3))
            (back * torch.tensor(case[f"in/cotangent_{way}"], dtype=dtype)).sum().backward()
            assert far(back, case[f"out/marginals_{way}"]) < close, name
            assert far(unary.grad, case[f"grad/unary_{way}"]) < slope, name
            assert far(pairwise.grad, case[f"grad/pairwise_{way}"]) < slope, name


@pytest.mark.parametrize("temperature", [None, 0.7])
@pytest.mark.parametrize("stride", [1, 2, 3, 9])
def test_chains_are_enumerations(temperature, stride):
    length, classes = 5, 3
    unary, pairwise = draw((1, length, classes, 2)), draw((1, max(length - stride, 0), classes, classes, 2))
    warmth = None if temperature is None else torch.tensor(temperature, dtype=torch.float64)
    found = chain_marginals(unary, pairwise, warmth, stride)
    for lane, start in itertools.product(range(2), range(min(stride, length))):
        pixels = range(start, length, stride)
        scores: dict[tuple[int, int], list[float]] = {}
        for labels in itertools.product(range(classes), repeat=len(pixels)):
            score = sum(unary[0, p, s, lane].item() for p, s in zip(pixels, labels, strict=True))
            pairs = zip(pixels, labels, labels[1:], strict=False)
            score += sum(pairwise[0, p, r, s, lane].item() for p, r, s in pairs)
            for p, s in zip(pixels, labels, strict=True):
                scores.setdefault((p, s), []).append(score)
        for (p, s), values in scores.items():
            all_of = torch.tensor(values, dtype=torch.float64)
            best = all_of.max() if warmth is None else warmth * (all_of / warmth).logsumexp(0)
            assert found[0, p, s, lane].item() == pytest.approx(best.item(), abs=1e-12)


@pytest.mark.parametrize("temperature", [0, 0.5, 2])
def test_the_dual_value_never_rises_and_bounds_every_labelling(temperature):
    height, width, classes = 2, 3, 2
    unary, pairs = draw((3, classes, height, width)), grids(3, classes, height, width, (1, 2))
    found = dual_decomposition(unary, pairs, 40, temperature)
    assert (found.dual.diff(dim=1) <= 1e-12).all()
    best = torch.full((3,), -torch.inf, dtype=torch.float64)
    for labels in itertools.product(range(classes), repeat=height * width):
        at = torch.tensor(labels).reshape(height, width)
        score = sum(unary[:, at[y, x], y, x] for y in range(height) for x in range(width))
        for grid, (y, x) in itertools.product(pairs, itertools.product(range(height), range(width))):
            if x + grid.stride < width:
                score = score + grid.rows[:, at[y, x], at[y, x + grid.stride], y, x]
            if y + grid.stride < height:
                score = score + grid.columns[:, at[y, x], at[y + grid.stride, x], y, x]
        best = torch.maximum(best, score)
    assert (found.dual[:, -1] >= best - 1e-12).all()
    if temperature == 0:  # where rows and columns agree, the bound is the best labelling's own score
        agreed = ~found.disagreement.flatten(1).any(1)
        assert agreed.any() and torch.allclose(found.dual[agreed, -1], best[agreed], atol=0.05)


@pytest.mark.parametrize(
    ("shape", "strides"), [((1, 3, 3, 4), (1, 2)), ((1, 2, 1, 4), (1, 3)), ((1, 1, 3, 1), (2,))]
)
def test_gradient(shape, strides):
    unary, pairs = draw(shape).requires_grad_(), grids(*shape, strides)
    tensors = [t.requires_grad_() for grid in pairs for t in (grid.rows, grid.columns)]
    warmth = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def compute(unary: Tensor, warmth: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        given = [Grid(q, *tensors[2 * k : 2 * k + 2]) for k, q in enumerate(strides)]
        found = dual_decomposition(unary, given, 2, warmth)
        return found.scores, found.dual

    assert torch.autograd.gradcheck(compute, (unary, warmth, *tensors), fast_mode=True)


@pytest.mark.parametrize("temperature", [None, 0.3, 2.0])
@pytest.mark.parametrize(("classes", "width", "stride"), [(21, 19, 2), (1, 3, 1), (2, 8, 1), (5, 33, 4)])
def test_the_kernel_is_its_twin(temperature, classes, width, stride):
    shape = (2, 7, classes, width)
    pair_shape = (2, 7 - stride, classes, classes, width)
    results = []
    for run in (chain_marginals, marginals_twin):
        unary, pairwise = (draw(x).float().requires_grad_() for x in (shape, pair_shape))
        warmth = None if temperature is None else torch.tensor(temperature, requires_grad=True)
        found = run(unary, pairwise, warmth, stride)
        (found * draw(shape, 3).float()).sum().backward()
        results.append([found, unary.grad, pairwise.grad, *([] if warmth is None else [warmth.grad])])
    for one, other in zip(*results, strict=True):
        assert far(one, other.detach().numpy(), 1) < 2e-5


def test_threads_and_instruction_sets(monkeypatch):
    unary, pairwise, warmth = draw((3, 6, 4, 21)).float(), draw((3, 5, 4, 4, 21)).float(), torch.tensor(0.5)

    def run() -> list[Tensor]:
        message = chains.marginals_op(unary, pairwise, warmth, 1)
        return [*message, *chains.gradients_op(unary, unary, pairwise, *message[1:], warmth, 1)]

    expected = run()
    torch.set_num_threads(3)
    assert all(map(torch.equal, run(), expected))
    monkeypatch.setenv("RLOSSCTL_SIMD", "plain")
    assert all(far(one, other.numpy(), 1) < 2e-5 for one, other in zip(run(), expected, strict=True))


def test_an_image_stops_by_itself_when_its_dual_value_rises():
    """With steps far too large the dual value rises; other images of the batch do not matter."""
    unary, pairs = draw((3, 3, 5, 6)), grids(3, 3, 5, 6, (1, 2))
    free = dual_decomposition(unary, pairs, 6, 2, step=3)
    found = dual_decomposition(unary, pairs, 6, 2, step=3, tolerance=1e-4)
    rose = (free.dual.diff(dim=1) >= 1e-4).int().argmax(1)
    assert (free.dual.diff(dim=1) >= 1e-4).any(1).all()
    for image, last in enumerate(rose.tolist()):
        kept = dual_decomposition(unary, pairs, last + 1, 2, step=3)
        assert torch.equal(found.scores[image], kept.scores[image])
        assert (found.dual[image, last:] == kept.dual[image, -1]).all()
    alone = dual_decomposition(
        unary[1:2], [Grid(g.stride, g.rows[1:2], g.columns[1:2]) for g in pairs], 6, 2, 3, 1e-4
    )
    assert torch.allclose(alone.scores, found.scores[1:2], rtol=0, atol=1e-12)


def test_linear_grids_are_the_convolution_of_both_features():
    features, weight, bias = draw((2, 4, 5, 6)), draw((9, 8, 1, 1)), draw((9,))
    (grid,) = linear_grids(features, weight, bias, [2])
    both = torch.cat([features[..., :-2], features[..., 2:]], 1)
    expected = torch.nn.functional.conv2d(both, weight, bias).unflatten(1, (3, 3))
    assert torch.allclose(grid.rows, expected)
    both = torch.cat([features[:, :, :-2], features[:, :, 2:]], 1)
    assert torch.allclose(grid.columns, torch.nn.functional.conv2d(both, weight, bias).unflatten(1, (3, 3)))


@pytest.mark.slow
def test_compiled():
    unary, (grid,) = draw((2, 3, 4, 5)).float(), grids(2, 3, 4, 5, (1,))

    def loss(unary: Tensor) -> Tensor:
        return dual_decomposition(unary, [grid], 3).scores.sin().sum()

    slopes = []
    for run in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss):
        given = unary.clone().requires_grad_()
        run(given).backward()
        slopes.append(given.grad)
    assert torch.allclose(*slopes, atol=1e-6)


def test_half_types_are_computed_in_float32():
    unary, pairs = draw((1, 2, 3, 4)).half(), grids(1, 2, 3, 4, (1,))
    found = dual_decomposition(unary, pairs)
    assert found.scores.dtype == torch.float32
    assert torch.equal(found.scores, dual_decomposition(unary.float(), pairs).scores)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("unary scores of images", {"unary": torch.ones(2, 3)}),
        ("needs pairwise scores", {"grids": []}),
        ("do not fit", {"unary": torch.ones(1, 2, 3, 5)}),
        ("iterations is out of range", {"iterations": 0}),
        ("temperature is out of range", {"temperature": -1}),
        ("step is out of range", {"step": float("nan")}),
    ],
)
def test_what_is_refused(words, change):
    given = {"unary": torch.ones(1, 2, 3, 4), "grids": grids(1, 2, 3, 4, (1,)), **change}
    with pytest.raises(NetError, match=words):
        dual_decomposition(**given)
    assert dual.WHERE == "dual decomposition"
