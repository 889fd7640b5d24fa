"""A small net with a shared layer, and weights for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import rlossctl
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

NET = """name: "small" input: "data" input_shape { dim: 1 dim: 3 dim: 17 dim: 17 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "twin_a" type: "Convolution" bottom: "conv" top: "twin_a"
  param { name: "w" } param { name: "b" }
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "twin_b" type: "Convolution" bottom: "twin_a" top: "twin_b"
  param { name: "w" } param { name: "b" }
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "twin_b" top: "sum" }
layer { name: "score" type: "Convolution" bottom: "sum" top: "score"
  convolution_param { num_output: ${LABELS} kernel_size: 1 weight_filler { type: "xavier" } } }
"""


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """.test: prototxt; .weights: a caffemodel; .settings: placeholders."""
    folder = tmp_path_factory.mktemp("inspected")
    settings = {"LABELS": 4}
    (folder / "net.prototxt").write_text(NET)
    net = rlossctl.load_net(folder / "net.prototxt", **settings)
    write_caffemodel(folder / "net.caffemodel", net.name, layer_records(net))
    return SimpleNamespace(test=folder / "net.prototxt", weights=folder / "net.caffemodel", settings=settings)
