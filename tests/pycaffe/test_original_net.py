"""DeepLab-LargeFOV with the DenseCRF loss as Caffe ran it: blobs, gradients, solver steps, through caffe."""

from __future__ import annotations

import json

import numpy as np
import pytest

# Those of tests/net/test_four_nets.py, which says why.
BLOBS, LOSSES, GRADIENTS, STEPS = 1e-4, 1e-4, 5e-3, 1e-2


@pytest.mark.slow
def test_first_pass_and_steps(caffe, shared, monkeypatch) -> None:
    folder = shared / "golden" / "nets" / "deeplab_largeFOV"
    monkeypatch.chdir(folder)
    reference, arrays = json.loads((folder / "reference.json").read_text()), np.load("reference.npz")
    solver = caffe.get_solver("solver.prototxt")
    net = solver.net
    initialize(net, reference["seed"])
    for name in ("data", "label"):
        net.blobs[name].data[...] = arrays[name]

    outputs = net.forward()
    for name, facts in reference["blobs"].items():
        values = net.blobs[name].data
        assert list(values.shape) == facts["shape"], name
        found = values.ravel()[(np.arange(32) * 2654435761) % values.size]
        assert np.abs(found - arrays[f"blob/{name}"].ravel()).max() <= BLOBS * facts["absmean"], name
    for name in ("densecrf_loss", "softmax_loss"):
        assert outputs[name].item() == pytest.approx(reference["steps"][0][name][0], rel=LOSSES)
    net.backward()
    for name, norm in reference["paramgrad_l2"].items():
        layer, _, index = name.rpartition("/")
        gradient = net.params[layer][int(index)].diff.astype(np.float64)
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=GRADIENTS, abs=1e-12), name

    for expected in reference["steps"][:3]:
        solver.step(1)
        for name in ("densecrf_loss", "softmax_loss"):
            assert net.blobs[name].data.item() == pytest.approx(expected[name][0], rel=STEPS)


def initialize(net, seed: int) -> None:
    """The recorded run's weights: one generator over the layers in net order."""
    generator = np.random.default_rng(seed)
    for number, (weight, bias) in enumerate(net.params.values()):
        values = generator.standard_normal(weight.shape) * np.sqrt(2 / np.prod(weight.shape[1:]))
        values *= (1 / 60 if number == 0 else 1) * (0.1 if weight.num == 21 else 1)
        weight.data[...] = values.astype(np.float32)
        bias.data[...] = 0
