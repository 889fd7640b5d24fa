"""DualDecompositionCRF's nodes against its forward: strides, temperatures, stopping, a hidden layer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from rlossctl.converters.onnx.export import export
from rlossctl.converters.verifying.blob_streams import OnnxModel
from rlossctl.net import load_net
from rlossctl.net.deploy import Deploy

NET = """name: "crf" input: "data" input_shape {{ dim: 1 dim: 3 dim: {0} dim: {1} }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param {{ num_output: 4 kernel_size: 1 weight_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "crf" type: "DualDecompositionCRF" bottom: "c" bottom: "data" top: "m" top: "d"
  dual_decomposition_crf_param {{ weight_filler {{ type: "gaussian" std: 0.5 }}
    bias_filler {{ type: "gaussian" std: 0.5 }} {2} }} }}
"""


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        ((7, 10), ""),
        ((7, 10), "temperature: 0"),
        ((7, 10), "stride: 1 stride: 3 iterations: 3 step: 4 tolerance: 0"),
        ((7, 10), "hidden: 5 temperature: 1.5 final_temperature: 0.5"),
        ((7, 10), "learn_temperature: true stride: 2"),
        ((2, 5), "step: 4 iterations: 6 tolerance: 0.01"),
        ((1, 4), "iterations: 2"),
    ],
)
def test_nodes_give_what_the_forward_gives(tmp_path, size, fields):
    prototxt = tmp_path / "crf.prototxt"
    prototxt.write_text(NET.format(*size, fields))
    torch.manual_seed(0)
    deploy = Deploy(load_net(prototxt)).eval()
    model, _ = export(deploy, [size])
    onnx.checker.check_model(model, full_check=True)
    assert not model.functions and any(node.op_type == "Scan" for node in model.graph.node)
    image = 3 * torch.randn(3, 3, *size)
    expected = dict(zip(deploy.output_names, deploy(image), strict=True))
    assert set(expected) == {"m", "d"}
    for blob in OnnxModel(model, dict.fromkeys(expected, "crf")).blobs(image.numpy(), expected):
        wanted = expected[blob.name].detach().numpy()
        assert np.abs(blob.array - wanted).max() <= 5e-6 * np.abs(wanted).max()
