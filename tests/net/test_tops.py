"""Shapes that are worked out without torch's own shape functions are those of a pass."""

from __future__ import annotations

import pytest
import torch

from rlossctl.net.tops import sized

NET = """input: "x" input_shape { dim: 2 dim: 4 dim: 13 dim: 18 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 pad_h: 2 pad_w: 1 stride: 2 dilation: 2 } }
layer { name: "d" type: "Deconvolution" bottom: "c" top: "d"
  convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 3 pad: 1 } }
layer { name: "m" type: "Pooling" bottom: "x" top: "m" top: "mask"
  pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "a" type: "Pooling" bottom: "x" top: "a"
  pooling_param { pool: AVE kernel_size: 2 stride: 3 } }
layer { name: "f" type: "Pooling" bottom: "x" top: "f"
  pooling_param { kernel_size: 4 stride: 3 round_mode: FLOOR } }
layer { name: "i" type: "Interp" bottom: "x" top: "i"
  interp_param { zoom_factor: 3 pad_beg: -1 pad_end: -2 } }
layer { name: "j" type: "Concat" bottom: "x" bottom: "x" top: "j" concat_param { axis: -2 } }
layer { name: "e" type: "Eltwise" bottom: "x" bottom: "x" top: "e" }
layer { name: "s" type: "Scale" bottom: "x" top: "s" scale_param { axis: 2 num_axes: 1 } }
"""


@pytest.mark.parametrize("size", [(13, 18), (24, 31)])
def test_shapes_are_those_of_a_pass(build, size):
    net = build(NET.replace("dim: 13 dim: 18", f"dim: {size[0]} dim: {size[1]}"), "TEST")
    image = torch.randn(2, 4, *size)
    found = {name: top.shape for layer, tops in sized(net.layers, {"x": tuple(image.shape)})
             for name, top in zip(layer.tops, tops, strict=True)}  # fmt: skip
    blobs = {"x": image}
    for layer in net.layers:
        tops = layer.module(*(blobs[name] for name in layer.bottoms))
        blobs.update(zip(layer.tops, tops if isinstance(tops, tuple) else (tops,), strict=True))
    assert found == {name: tuple(blobs[name].shape) for name in found}


def test_shapes_that_do_not_fit_are_torchs_error(build):
    (layer,) = build(NET.partition('layer { name: "d"')[0]).layers
    with pytest.raises(RuntimeError):
        list(sized([layer], {"x": (2, 4, 2, 2)}))
