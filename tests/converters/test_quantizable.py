"""What the quantizer gets."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch

from rlossctl.converters.onnx.export import export
from rlossctl.converters.onnx.quantizable import give_whole_sizes
from rlossctl.net import load_net
from rlossctl.net.deploy import Deploy

NET = """name: "net" input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "scale" scale_param { bias_term: true
  filler { value: 0.5 } bias_filler { value: 0.1 } } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "scale" top: "sum" }
layer { name: "up" type: "Interp" bottom: "sum" top: "up" interp_param { zoom_factor: 2 } }
"""


def exported(tmp_path):
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(NET)
    deploy = Deploy(load_net(prototxt)).eval()
    return deploy, export(deploy, [(16, 13), (21, 19)])[0]


def test_whole_sizes_give_the_same_blobs(tmp_path):
    deploy, model = exported(tmp_path)
    give_whole_sizes(model)
    (resize,) = (node for node in model.graph.node if node.op_type == "Resize")
    assert "axes" not in {attribute.name for attribute in resize.attribute}
    image = torch.randn(2, 3, 7, 10, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"data": image.numpy()})
    np.testing.assert_allclose(found, deploy(image)[0].detach().numpy(), rtol=1e-5, atol=1e-5)
