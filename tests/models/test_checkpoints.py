"""Released checkpoints and weights: the recorded outputs of their authors' programs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import rlossctl
from rlossctl.converters.nets.checkpoints import open_checkpoint
from rlossctl.converters.nets.inference_net import open_trained
from rlossctl.net import NetOrigin
from rlossctl.net.deploy import Deploy

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IDS = ("2007_000033", "2007_000129")


def folder(shared: Path, name: str) -> Path:
    path = shared / "data/models" / name
    if not path.is_dir():
        pytest.skip(f"needs {path}")
    return path


@torch.no_grad()
def run(net, bgr: np.ndarray, blob: str) -> np.ndarray:
    """A blob for an image as the data layers give it: BGR minus ImageNet's mean."""
    return Deploy(net, [blob]).eval()(torch.tensor(np.ascontiguousarray(bgr), dtype=torch.float32))[0].numpy()


def caffe(rgb: np.ndarray) -> np.ndarray:
    """RGB in 0..1, [1, 3, H, W], as the data layers give it."""
    return (255 * (rgb - MEAN[:, None, None]))[:, ::-1]


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["0.5", "2.0"])
def test_espnetv2(shared, scale):
    files = folder(shared, "espnetv2_voc")
    trained = open_checkpoint(NetOrigin(files / f"espnetv2_s_{scale}_pascal_384x384.pth"))
    assert f"espnetv2_s{scale}/test" in trained.notes[0]
    with np.load(files / f"reference_s_{scale}.npz") as known:
        for name in IDS:
            image = known[f"input_{name}"].astype(np.float64)
            image = image.reshape(1, *image.shape[-3:]) * STD[:, None, None] + MEAN[:, None, None]
            found = run(trained.net, caffe(image), "score")
            np.testing.assert_allclose(found, known[f"logits_{name}"].reshape(found.shape), atol=1e-4)


@pytest.mark.slow
def test_squeezenet(shared):
    """The best class of each photo, and the scores, as OpenCV computed them."""
    files = folder(shared, "squeezenet_imagenet")
    net = rlossctl.load_net(files / "deploy.prototxt", files / "squeezenet_v1.0.caffemodel")
    best = {"2007_000033": 404, "2007_000129": 444, "2007_007109": 339}
    with np.load(files / "reference.npz") as known:
        for name, label in best.items():
            found = run(net, known[f"input_{name}"], "pool_final").ravel()
            np.testing.assert_allclose(found, known[f"logits_{name}"], atol=1e-4)
            assert found.argmax() == label


@pytest.mark.slow
@pytest.mark.parametrize("size", [225, 321])
def test_efficientnet_lite0(shared, size):
    """The weights are not in the project: EFFICIENTNET_LITE0 names the package's file."""
    files, weights = folder(shared, "efficientnet_lite0"), os.environ.get("EFFICIENTNET_LITE0")
    if not weights:
        pytest.skip("needs EFFICIENTNET_LITE0, the path of the package's .pth")
    trained = open_checkpoint(NetOrigin(weights))
    assert "imagenet/efficientnet_lite0" in trained.notes[0]
    with np.load(files / "reference.npz") as known:
        for name in IDS:
            photo = known[f"photo_{size}_{name}"].astype(np.float64).transpose(2, 0, 1)[None] / 255
            found = run(trained.net, caffe(photo), "_fc").ravel()
            np.testing.assert_allclose(found, known[f"symmetric_{size}_{name}"].ravel(), atol=1e-4)
    origin = NetOrigin(
        "deeplabv3plus_efficientnet_lite0/test", weights, {"NUM_LABELS": 21}, allow_missing=True
    )
    backbone = open_trained(origin, whole=False)
    assert any("note: not used: " in note and "_conv_head" in note for note in backbone.notes)
