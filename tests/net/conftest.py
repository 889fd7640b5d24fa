"""Building nets from text."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A training prototxt in the manner of the experiments, without its images."""
    path = tmp_path / "train.prototxt"
    path.write_text(SMALL)
    (tmp_path / "train.txt").write_text("/a.jpg /a.png\n")
    path.write_text(SMALL.replace('"train.txt"', f'"{tmp_path}/train.txt"'))
    return path
