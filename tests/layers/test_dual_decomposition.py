"""The layer DualDecompositionCRF: recordings of the original's head, blobs, phases, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.grid import dual_decomposition, linear_grids

FIELDS = 'dual_decomposition_crf_param { weight_filler { type: "gaussian" std: 0.3 } %s }'


def test_recorded_heads(shared, layer):
    """Values and gradients of the original's head, whose unary scores are a convolution of the features."""
    files = sorted((shared / "golden/losses/ddd").glob("head_*.npz"))
    assert len(files) == 4
    for file in files:
        with np.load(file) as data:
            case = dict(data)
        param = json.loads(str(case["params"]))
        given = {k[3:]: torch.tensor(v) for k, v in case.items() if k.startswith("in/")}
        features, head = given["features"].requires_grad_(), given["unary_weight"].requires_grad_()
        strides = " ".join(f"stride: {stride}" for stride in param["strides"])
        warmth = (
            f"temperature: {param['gamma']} learn_temperature: true"
            if param["gamma"] > 0
            else "temperature: 0"
        )
        fields = FIELDS % f"{strides} iterations: {param['iterations']} {warmth}"
        unary = torch.nn.functional.conv2d(features, head, given["unary_bias"])
        net = layer("DualDecompositionCRF", fields, unary.shape, features.shape, tops=2)
        weight, bias, *rest = net.params["l"]
        with torch.no_grad():
            weight.copy_(given["pairwise_weight"])
            bias.copy_(given["pairwise_bias"])
        tops = net(a=unary, b=features)
        (tops["t0"] * given["cotangent"]).sum().backward()
        found = {"features": features.grad, "unary_weight": head.grad, "pairwise_weight": weight.grad}
        found |= {"pairwise_bias": bias.grad, **({"gamma": rest[0].grad[0]} if rest else {})}
        for key, tensor in found.items():
            assert (
                np.abs(tensor.numpy() - case[f"grad/{key}"]).max() <= 2e-5 * np.abs(case[f"grad/{key}"]).max()
            )
        assert (
            np.abs(tops["t0"].detach().numpy() - case["out/logits"]).max()
            <= 2e-6 * np.abs(case["out/logits"]).max()
        )
        assert tops["t1"].sum(0).tolist() == pytest.approx(case["out/dual"].tolist(), rel=2e-6)


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(3)
    return {
        "a": torch.randn((2, 3, 4, 5), generator=generator),
        "b": torch.randn((2, 6, 4, 5), generator=generator),
    }


def test_blobs_and_defaults(layer, given):
    net = layer("DualDecompositionCRF", FIELDS % "", (2, 3, 4, 5), (2, 6, 4, 5), tops=2)
    weight, bias = net.params["l"]
    assert weight.shape == (9, 12, 1, 1) and bias.shape == (9,) and weight.std() > 0 and not bias.any()
    expected = dual_decomposition(given["a"], linear_grids(given["b"], weight, bias, [1, 2]), 5, 2.0)
    tops = net(**given)
    assert torch.equal(tops["t0"], expected.scores) and torch.equal(tops["t1"], expected.dual)
    assert tops["t1"].shape == (2, 5) == net.shapes["t1"]


def test_a_learned_temperature_starts_as_given_and_stays_positive(layer, given):
    fields = FIELDS % "learn_temperature: true temperature: 0.5"
    net = layer("DualDecompositionCRF", fields, (2, 3, 4, 5), (2, 6, 4, 5))
    blob = net.params["l"][2]
    assert blob.shape == (1,) and blob.item() == 0.5
    net(**given)["t0"].square().sum().backward()
    assert blob.grad.item() != 0
    with torch.no_grad():
        blob.fill_(-1)
    assert torch.isfinite(net(**given)["t0"]).all()


def test_only_the_test_phase_stops(build, given):
    text = "".join(
        f'input: "{name}" input_shape {{ dim: 2 dim: {channels} dim: 4 dim: 5 }} '
        for name, channels in (("a", 3), ("b", 6))
    )
    text += 'layer { name: "l" type: "DualDecompositionCRF" bottom: "a" bottom: "b" top: "m" top: "d" '
    text += FIELDS + " }"
    steps = "step: 4 iterations: 6"
    train, test = (build(text % steps, phase) for phase in ("TRAIN", "TEST"))
    never = build(text % f"{steps} tolerance: 0", "TEST")
    for net in (test, never):
        for blob, source in zip(net.params["l"], train.params["l"], strict=True):
            blob.data.copy_(source.data)
    duals = [net(**given)["d"].diff(dim=1) for net in (train, test, never)]
    assert (duals[0] > 0).any() and torch.equal(duals[0], duals[2]) and (duals[1] <= 1e-4).all()


@pytest.mark.proves(
    "DualDecompositionCRF",
    'dual_decomposition_crf_param { iterations: 2 stride: 4 weight_filler { type: "gaussian" std: 0.1 } }',
    gradient=True,
)
def test_gradient(layer, given):
    net = layer("DualDecompositionCRF", FIELDS % "iterations: 3", (2, 3, 4, 5), (2, 6, 4, 5)).double()
    inputs = [given["a"].double().requires_grad_(), given["b"].double().requires_grad_()]
    weight, bias = (blob.detach().requires_grad_() for blob in net.params["l"])

    def compute(a, b, weight, bias):
        return dual_decomposition(a, linear_grids(b, weight, bias, [1, 2]), 3).scores

    assert torch.allclose(net(a=inputs[0], b=inputs[1])["t0"], compute(*inputs, weight, bias))
    assert torch.autograd.gradcheck(compute, (*inputs, weight, bias), fast_mode=True)


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ("", ((2, 3, 4, 5), (2, 6, 4, 4)), "equal batch, height and width"),
        ("iterations: 0", ((2, 3, 4, 5), (2, 6, 4, 5)), "iterations must be positive"),
        ("stride: 0", ((2, 3, 4, 5), (2, 6, 4, 5)), "stride must be positive"),
        ("temperature: 0 learn_temperature: true", ((2, 3, 4, 5), (2, 6, 4, 5)), "starts so low"),
        ("temperature: -1", ((2, 3, 4, 5), (2, 6, 4, 5)), "temperature is out of range"),
    ],
)
def test_layers_that_are_refused(layer, fields, shapes, words):
    with pytest.raises(NetError, match=words):
        layer("DualDecompositionCRF", FIELDS % fields, *shapes)
