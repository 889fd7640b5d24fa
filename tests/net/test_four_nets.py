"""The four original training nets against Caffe: activations, losses, gradient norms and solver steps.

The tolerances stay near what a relative change of 1e-6 of the weights does to each figure (see the README
beside the recordings).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rlossctl import load_net, load_solver
from rlossctl.net import Net

# blobs: of the blob's mean magnitude
NETS = {"deeplab_largeFOV": 1e-4, "deeplab_msc_largeFOV": 1e-4, "deeplab_vgg16": 1e-4, "resnet-101": 1e-3}
LOSSES, GRADIENTS, STEPS = 1e-4, 5e-3, 1e-2


@pytest.fixture(params=NETS)
def case(request: pytest.FixtureRequest, shared: Path) -> Path:
    return shared / "golden" / "nets" / request.param


@pytest.mark.slow
def test_first_pass(case):
    reference = json.loads((case / "reference.json").read_text())
    arrays = np.load(case / "reference.npz")
    net = load_net(case / "net.prototxt", phase="TRAIN")
    initialize(net, reference["seed"])
    result = net.run(inputs(net, arrays), keep=True)

    for name, facts in reference["blobs"].items():
        blob = result.blobs[name].detach().numpy()
        assert list(blob.shape) == facts["shape"], name
        difference = np.abs(blob.ravel()[positions(blob.size)] - arrays[f"blob/{name}"].ravel()).max()
        assert difference <= NETS[case.name] * facts["absmean"], name
    for name, values in reference["steps"][0].items():
        if "accuracy" not in name:
            assert result.outputs[name].item() == pytest.approx(values[0], rel=LOSSES), name

    result.loss.backward()
    for name, norm in reference["paramgrad_l2"].items():
        layer, index = name.split("/")
        gradient = net.params[layer][int(index)].grad
        found = 0.0 if gradient is None else gradient.double().norm().item()
        assert found == pytest.approx(norm, rel=GRADIENTS, abs=1e-12), name


@pytest.mark.slow
def test_solver_steps(case):
    reference = json.loads((case / "reference.json").read_text())
    solver = load_solver(case / "solver.prototxt", device="cpu")
    initialize(solver.net, reference["seed"])
    fed = inputs(solver.net, np.load(case / "reference.npz"))
    for number, expected in enumerate(reference["steps"]):
        outputs = solver.step(1, fed)
        for name, values in expected.items():
            if "accuracy" not in name:  # one pixel is 2 % of these small inputs
                assert outputs[name].item() == pytest.approx(values[0], rel=STEPS), f"{name}, step {number}"


def inputs(net: Net, arrays: np.lib.npyio.NpzFile) -> dict[str, torch.Tensor]:
    fed = {name: torch.from_numpy(arrays[name]) for name in ("data", "label")}
    if "data_dim" in net.inputs:
        fed["data_dim"] = torch.zeros(net.shapes["data_dim"])
    return fed


def positions(size: int) -> np.ndarray:
    return (np.arange(32) * 2654435761) % size


@torch.no_grad()
def initialize(net: Net, seed: int) -> None:
    """The recorded runs' weights: one generator over the layers in net order, shared blobs once."""
    generator = np.random.default_rng(seed)
    seen: set[int] = set()
    first = True
    for layer in net.layers:
        for index, blob in enumerate(layer.module.blobs):
            if id(blob) in seen:
                continue
            seen.add(id(blob))
            shape = tuple(blob.shape)
            if layer.type == "Convolution" and index == 0:
                values = convolution_weight(generator, shape, first)
                first = False
            elif layer.type == "BatchNorm":
                values = np.full(shape, (0, 1, 1)[index])
            elif layer.type == "Scale" and index == 0:
                values = np.full(shape, 0.2 if "branch2c" in layer.name else 1)
            else:
                values = np.zeros(shape)
            blob.copy_(torch.from_numpy(values.astype(np.float32)))


def convolution_weight(generator: np.random.Generator, shape: tuple[int, ...], first: bool) -> np.ndarray:
    weight = generator.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))
    return weight / (60 if first else 1) * (0.1 if shape[0] == 21 else 1)
