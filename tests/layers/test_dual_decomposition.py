"""The layer DualDecompositionCRF: recordings of the original's head, blobs, phases, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.grid import dual_decomposition, linear_grids

STEPS = "step: 4 iterations: 6"
FIELDS = 'dual_decomposition_crf_param { weight_filler { type: "gaussian" std: 0.3 } %s }'
NET = (
    'input: "a" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 } input: "b" input_shape { dim: 2 dim: 6 dim: 4 '
    'dim: 5 } layer { name: "l" type: "DualDecompositionCRF" bottom: "a" bottom: "b" top: "m" top: "d" '
    f"{FIELDS} }}"
)


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
    train, test = (build(NET % STEPS, phase) for phase in ("TRAIN", "TEST"))
    never = build(NET % f"{STEPS} tolerance: 0", "TEST")
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


@pytest.mark.parametrize("done, expected", [(0, 3), (0.25, 1.5), (0.5, 1), (1, 1)])
def test_a_falling_temperature(layer, given, done, expected):
    """(3 - 1) (1 - t / 0.5)^2 + 1, at the share t of the training."""
    fields = FIELDS % "temperature: 3 final_temperature: 1 temperature_power: 2 temperature_ratio: 0.5"
    net = layer("DualDecompositionCRF", fields, (2, 3, 4, 5), (2, 6, 4, 5))
    module = net.layers[-1].module
    assert module.progress(done) and module.temperature == pytest.approx(expected)
    grids = linear_grids(given["b"], *net.params["l"], [1, 2])
    assert torch.equal(net(**given)["t0"], dual_decomposition(given["a"], grids, 5, expected).scores)


def test_without_final_temperature_progress_changes_nothing(layer):
    module = layer("DualDecompositionCRF", FIELDS % "", (2, 3, 4, 5), (2, 6, 4, 5)).layers[-1].module
    assert not module.progress(0.5) and module.temperature == 2


def test_only_the_test_phase_has_the_final_temperature(build):
    found = [build(NET % "final_temperature: 0.5", phase).layers[-1].module for phase in ("TRAIN", "TEST")]
    assert [module.temperature for module in found] == [2, 0.5] and not found[1].progress(0)


class Head(torch.nn.Module):
    """The original's pairwise head with a hidden layer, called for each grid of pixels `stride` apart."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        conv = torch.nn.Conv2d
        self.layers = torch.nn.Sequential(
            conv(2 * features, hidden, 1, bias=False),
            torch.nn.BatchNorm2d(hidden, momentum=0.05),
            torch.nn.ReLU(),
            conv(hidden, classes**2, 1),
        )
        for part in self.layers.parameters():
            torch.nn.init.normal_(part, 0.1, 0.4)
        self.classes = classes

    def forward(self, x: torch.Tensor, strides: list[int]) -> list[list[torch.Tensor]]:
        """For each stride and first pixel: the scores of rows and of columns."""
        out = []
        for stride in strides:
            for y in range(stride):
                for begin in range(stride):
                    part = x[:, :, y::stride, begin::stride]
                    rows = torch.cat([part[..., :-1], part[..., 1:]], 1)
                    columns = torch.cat([part[:, :, :-1], part[:, :, 1:]], 1)
                    scores = (self.layers(pairs) for pairs in (rows, columns))
                    out.append([one.unflatten(1, (self.classes,) * 2) for one in scores])
        return out


@pytest.mark.proves(
    "DualDecompositionCRF",
    "dual_decomposition_crf_param { iterations: 1 stride: 2 hidden: 3 weight_filler { value: 0.1 } }",
    gradient=True,
)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_the_hidden_layer_is_the_originals(build, given, phase):
    torch.manual_seed(0)
    head = Head(6, 7, 3).train(phase == "TRAIN")
    net = build(NET % "hidden: 7", phase)
    norm = head.layers[1]
    norm.running_mean.normal_(0, 0.3), norm.running_var.uniform_(0.5, 2)
    sources = (head.layers[3].weight, head.layers[3].bias, head.layers[0].weight, *norm.parameters())
    blobs = net.params["l"]
    with torch.no_grad():
        for blob, source in zip(blobs, (*sources, norm.running_mean, norm.running_var), strict=True):
            blob.copy_(source)
    features = given["b"].requires_grad_()
    grids = net.layers[-1].module.grids(features)
    expected = head(features, [1, 2])
    parts = [[grids[0].rows, grids[0].columns]]
    parts += [
        [scores[..., y::2, x::2] for scores in (grids[1].rows, grids[1].columns)]
        for y in range(2)
        for x in range(2)
    ]
    for found, wanted in zip(parts, expected, strict=True):
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert torch.allclose(blobs[-2], norm.running_mean, atol=1e-6)
    assert torch.allclose(blobs[-1], norm.running_var, atol=1e-6)
    learned = sum(scores.square().sum() for grid in grids for scores in (grid.rows, grid.columns))
    wanted = sum(scores.square().sum() for pair in expected for scores in pair)
    gradients = (torch.autograd.grad(loss, features, retain_graph=True)[0] for loss in (learned, wanted))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert net(**given)["m"].shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ("", ((2, 3, 4, 5), (2, 6, 4, 4)), "equal batch, height and width"),
        ("iterations: 0", ((2, 3, 4, 5), (2, 6, 4, 5)), "iterations must be positive"),
        ("stride: 0", ((2, 3, 4, 5), (2, 6, 4, 5)), "stride must be positive"),
        ("temperature: 0 learn_temperature: true", ((2, 3, 4, 5), (2, 6, 4, 5)), "starts so low"),
        ("final_temperature: 3", ((2, 3, 4, 5), (2, 6, 4, 5)), "final_temperature is out of range"),
        (
            "final_temperature: 1 temperature_ratio: 0",
            ((2, 3, 4, 5), (2, 6, 4, 5)),
            "temperature_ratio is out of range",
        ),
        (
            "final_temperature: 1 learn_temperature: true",
            ((2, 3, 4, 5), (2, 6, 4, 5)),
            "cannot both learn its temperature and let it fall",
        ),
        ("temperature: -1", ((2, 3, 4, 5), (2, 6, 4, 5)), "temperature is out of range"),
    ],
)
def test_layers_that_are_refused(layer, fields, shapes, words):
    with pytest.raises(NetError, match=words):
        layer("DualDecompositionCRF", FIELDS % fields, *shapes)
