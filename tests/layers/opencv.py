"""OpenCV's Caffe importer as an oracle for layers that BVLC Caffe does not have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.converters.verifying.opencv import write_deployed
from rlossctl.net import Net
from rlossctl.net.deploy import Deploy


def run(text: str, inputs: dict[str, np.ndarray], output: str | None = None) -> np.ndarray:
    """What OpenCV makes of a prototxt without weights."""
    cv2 = importer()
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    for name, values in inputs.items():
        net.setInput(values.astype(np.float32), name)
    return net.forward(output) if output else net.forward()


def run_net(net: Net, image: torch.Tensor, folder) -> np.ndarray:
    """What OpenCV makes of a net with its weights, of its last blob."""
    cv2 = importer()
    write_deployed(net, Deploy(net), folder / "net.prototxt", folder / "net.caffemodel")
    model = cv2.dnn.readNetFromCaffe(str(folder / "net.prototxt"), str(folder / "net.caffemodel"))
    model.enableFusion(False)
    model.setInput(image.numpy())
    return model.forward()


def importer():
    """OpenCV, if it is there and still reads Caffe's nets."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip(f"OpenCV {cv2.__version__} reads no Caffe nets")
    return cv2
