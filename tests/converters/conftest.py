"""A small net like those of configs/: training prototxt with DenseCRFLoss, test prototxt, and weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from deployed import photo
from PIL import Image

from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

SPECS = 'param {{ name: "{0}_w" }} param {{ name: "{0}_b" lr_mult: 2 decay_mult: 0 }}'
DATA = """
name: "tiny"
layer {{ name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param {{ source: "{list}" root_folder: "/d" batch_size: {batch} label_type: PIXEL }}
  transform_param {{ mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: {crop} }} }}
"""
BODY = (
    """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1"
  batch_norm_param { use_global_stats: true } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
"""
    + "".join(
        f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {SPECS.format("twin")}
  convolution_param {{ num_output: 6 kernel_size: 3 pad: 2 dilation: 2 }} }}
layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}
"""
        for bottom, name in (("pool1", "twin_a"), ("twin_a", "twin_b"))
    )
    + """
layer { name: "avg" type: "Pooling" bottom: "twin_b" top: "avg"
  pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "max" type: "Eltwise" bottom: "avg" bottom: "pool1" top: "max"
  eltwise_param { operation: MAX } }
layer { name: "concat" type: "Concat" bottom: "max" bottom: "twin_a" top: "concat" }
layer { name: "drop" type: "Dropout" bottom: "concat" top: "concat" }
layer { name: "fc8_${EXP}" type: "Convolution" bottom: "concat" top: "fc8_${EXP}"
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 1 } }
"""
)
TRAIN = (
    BODY
    + """
layer { name: "label_shrink" type: "Interp" bottom: "label" top: "label_shrink"
  interp_param { shrink_factor: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8_${EXP}" bottom: "label_shrink"
  loss_param { ignore_label: 255 } }
layer { name: "up" type: "Interp" bottom: "fc8_${EXP}" top: "up" interp_param { zoom_factor: 2 } }
layer { name: "soft" type: "Softmax" bottom: "up" top: "soft" }
layer { name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "soft" top: "crf" loss_weight: ${WEIGHT}
  densecrf_loss_param { bi_xy_std: 40 bi_rgb_std: 15 } }
"""
)
TEST = (
    BODY
    + """
layer { name: "up" type: "Interp" bottom: "fc8_${EXP}" top: "up" interp_param { zoom_factor: 2 } }
layer { name: "accuracy" type: "SegAccuracy" bottom: "up" bottom: "label" top: "accuracy"
  seg_accuracy_param { ignore_label: 255 } }
"""
)
SETTINGS = {"EXP": "toy", "NUM_LABELS": 4, "WEIGHT": "1e-9"}


@torch.no_grad()
def write_weights(prototxt: Path, path: Path, settings: dict[str, object]) -> None:
    """Random weights of sizes at which every layer matters."""
    generator = torch.Generator().manual_seed(3)
    net = load_inference_net(NetOrigin(prototxt, placeholders=settings))
    for layer in net.layers:
        for index, blob in enumerate(layer.module.blobs):
            blob.copy_(torch.randn(blob.shape, generator=generator))
            if layer.type == "Convolution" and index == 0:
                blob.div_(blob[0].numel() ** 0.5)
            elif layer.type == "BatchNorm":
                blob.abs_().add_(index)
    write_caffemodel(path, net.name, layer_records(net))


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """.test, .train: prototxts; .weights: a caffemodel that fits both; .settings: placeholders."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "list.txt").write_text("/a.jpg /a.png\n")
    files = {"train": (TRAIN, 2, 33), "test": (TEST, 1, 65)}
    for name, (text, batch, crop) in files.items():
        data = DATA.format(list=folder / "list.txt", batch=batch, crop=crop)
        (folder / f"{name}.prototxt").write_text(data + text)
    weights = folder / "tiny.caffemodel"
    write_weights(folder / "test.prototxt", weights, SETTINGS)
    return SimpleNamespace(
        test=folder / "test.prototxt",
        train=folder / "train.prototxt",
        weights=weights,
        settings=SETTINGS,
    )


@pytest.fixture
def labelled(tmp_path):
    """A list of three photos with labels, and the folder of its names."""
    lines = []
    for number in range(3):
        Image.fromarray(photo((60 + number, 70))).save(tmp_path / f"{number}.png")
        Image.fromarray(photo((60 + number, 70))[:, :, 0] % 4).save(tmp_path / f"{number}_label.png")
        lines.append(f"/{number}.png /{number}_label.png")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return tmp_path / "list.txt"
