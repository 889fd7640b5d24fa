"""What the tests of checkpoint importers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from rlossctl.converters.nets.implied_net import implied_net
from rlossctl.converters.nets.inference_net import open_trained
from rlossctl.net import NetOrigin
from rlossctl.net.deploy import Deploy

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_BGR = (103.53, 116.28, 123.675)

SETTINGS = {"EXP": "e", "DATA_ROOT": ".", "TEST_SET": "val", "NET_ID": "n"}


def save(module: nn.Module, path: Path, **more: object) -> Path:
    torch.save({"epoch": 3, "best_pred": np.float64(0.5), "state_dict": module.state_dict(), **more}, path)
    return path


def images(size: int, mean=MEAN, std=STD) -> tuple[torch.Tensor, torch.Tensor]:
    """A photo as the programs see it (RGB, normalised) and as Caffe's data layers give it."""
    photo = np.random.default_rng(1).integers(0, 256, (1, 3, size, size)).astype(np.float64)
    rgb = (photo / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    bgr = photo[:, ::-1] - np.reshape(MEAN_BGR, (3, 1, 1))
    return torch.tensor(rgb, dtype=torch.float32), torch.tensor(bgr, dtype=torch.float32)


def open_named(prototxt, weights, placeholders):
    return open_trained(NetOrigin(prototxt, weights, placeholders))


def opened(path: Path, **given: object):
    with implied_net(NetOrigin(path, placeholders=given)) as implied:
        return implied, open_trained(implied.origin)


@torch.no_grad()
def compare(net, module: nn.Module, size: int, **colours: object) -> None:
    """The scores of a random image, within 1e-4 of their magnitude."""
    rgb, bgr = images(size, **colours)
    expected = module(rgb)
    blob = "score" if expected.dim() == 4 else [name for name in net.shapes if name != "prob"][-1]
    found = Deploy(net, [blob]).eval()(bgr)[0]
    assert found.shape == expected.shape and expected.std() > 1e-3
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < 1e-4, float(error)
