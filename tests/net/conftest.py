"""Building nets from text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from rlossctl.net import Net, build_net
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.phase import filter_net, net_state

SMALL = """
name: "small"
layer { name: "data" type: "ImageSegData" top: "data" top: "label" include { phase: TRAIN }
  image_data_param { source: "train.txt" root_folder: "/d" batch_size: 2 label_type: PIXEL }
  transform_param { crop_size: 33 mean_value: 104 mean_value: 117 mean_value: 123 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "drop1" type: "Dropout" bottom: "pool1" top: "pool1" }
layer { name: "fc8" type: "Convolution" bottom: "pool1" top: "fc8"
  convolution_param { num_output: 5 kernel_size: 3 pad: 2 dilation: 2 weight_filler { type: "xavier" } } }
layer { name: "shrink" type: "Interp" bottom: "label" top: "label_small" interp_param { shrink_factor: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label_small"
  loss_param { ignore_label: 255 } }
layer { name: "up" type: "Interp" bottom: "fc8" top: "score" interp_param { zoom_factor: 2 } }
layer { name: "accuracy" type: "SegAccuracy" bottom: "score" bottom: "label" top: "accuracy"
  seg_accuracy_param { ignore_label: 255 } }
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread: small nets run faster so, and nothing waits for a second core that others use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def build() -> Callable[..., Net]:
    """build(text, phase="TRAIN", where="net.prototxt", **options of build_net) gives the net."""

    def build_text(text: str, phase: str = "TRAIN", where: str = "net.prototxt", **options: object) -> Net:
        return build_net(filter_net(parse_net(text, where), net_state(phase)), **options)

    return build_text


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A training prototxt in the manner of the experiments, without its images."""
    path = tmp_path / "train.prototxt"
    path.write_text(SMALL)
    (tmp_path / "train.txt").write_text("/a.jpg /a.png\n")
    path.write_text(SMALL.replace('"train.txt"', f'"{tmp_path}/train.txt"'))
    return path
