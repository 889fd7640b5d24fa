"""Each type that maps blobs to blobs is exported: the ONNX column of docs/layers.md rests on this."""

from __future__ import annotations

import rlossctl
from rlossctl.net import load_net, registry
from rlossctl.net.deploy import Deploy
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

NET = """
name: "all" input: "data" input_shape { dim: 1 dim: 3 dim: 17 dim: 21 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 2 dilation: 2 weight_filler { type: "msra" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "scale"
  scale_param { bias_term: true bias_filler { value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "relu" relu_param { negative_slope: 0.1 } }
layer { name: "max" type: "Pooling" bottom: "relu" top: "max"
  pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "ave" type: "Pooling" bottom: "relu" top: "ave"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "drop" type: "Dropout" bottom: "ave" top: "drop" }
layer { name: "top" type: "Eltwise" bottom: "max" bottom: "drop" top: "top" eltwise_param { operation: MAX } }
layer { name: "both" type: "Concat" bottom: "top" bottom: "ave" top: "both" }
layer { name: "up" type: "Interp" bottom: "both" top: "up" interp_param { zoom_factor: 2 } }
layer { name: "soft" type: "Softmax" bottom: "up" top: "soft" }
%s
"""
INNER = """
layer { name: "bn" type: "BN" bottom: "data" top: "bn"
  bn_param { scale_filler { value: 1.5 } shift_filler { value: 0.5 } } }
layer { name: "small" type: "Pooling" bottom: "bn" top: "small" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "large" type: "Upsample" bottom: "small" bottom: "mask" top: "large"
  upsample_param { upsample_h: 17 upsample_w: 21 } }
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "large" top: "sum" }
layer { name: "line" type: "Concat" bottom: "soft" bottom: "sum" top: "line" concat_param { axis: 1 } }
layer { name: "inner" type: "InnerProduct" bottom: "line" top: "inner"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


def test_every_type_that_deploy_keeps_is_exported_and_verified(tmp_path):
    kept = {kind.type for kind in registry.kinds().values() if kind.role == "layer" and kind.tops[1] != 0}
    exported = set()
    for name, text in (("any_size", NET % ""), ("one_size", NET % INNER)):
        prototxt, weights = tmp_path / f"{name}.prototxt", tmp_path / f"{name}.caffemodel"
        prototxt.write_text(text)
        net = load_net(prototxt)
        for blob in net.params["norm"]:
            blob.fill_(1)
        write_caffemodel(weights, net.name, layer_records(net))
        verification = rlossctl.convert(prototxt, weights, tmp_path / f"{name}.onnx")
        assert len(verification.comparisons) >= 1 and verification.worst.error <= verification.tolerance
        exported |= {layer.type for layer in Deploy(net).layers}
    assert kept == exported
