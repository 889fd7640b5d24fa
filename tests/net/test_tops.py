"""Shapes of a net's blobs for images of any size."""

from __future__ import annotations

import pytest
import torch

from rlossctl.net.tops import sized

NET = """input: "x" input_shape { dim: 2 dim: 4 dim: 13 dim: 18 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 pad_h: 2 pad_w: 1 stride: 2 dilation: 2 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "i" type: "Interp" bottom: "p" bottom: "x" top: "i" }
layer { name: "j" type: "Concat" bottom: "x" bottom: "i" top: "j" }
layer { name: "columns" type: "Im2col" bottom: "j" top: "columns" convolution_param { kernel_size: 2 } }
"""


def test_shapes_are_those_of_a_pass(build):
    """One net on images of another size than its prototxt's, with a layer that only its forward knows."""
    net = build(NET, "TEST")
    image = torch.randn(2, 4, 24, 31)
    found = {name: top.shape for layer, tops in sized(net.layers, {"x": tuple(image.shape)})
             for name, top in zip(layer.tops, tops, strict=True)}  # fmt: skip
    blobs = net.forward_blobs(x=image)
    assert found == {name: tuple(blobs[name].shape) for name in found}


def test_shapes_that_do_not_fit_are_torchs_error(build):
    (layer,) = build(NET.partition('layer { name: "r"')[0]).layers
    with pytest.raises(RuntimeError):
        list(sized([layer], {"x": (2, 4, 1, 1)}))
