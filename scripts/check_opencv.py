"""Has OpenCV's Caffe importer read a model that rlossctl trained and saved, and compares the outputs.

    python scripts/check_opencv.py

Trains a small net on random data for some iterations, writes its caffemodel, installs OpenCV into a virtual
environment of its own (it must not share one with torch; the package registry must be reachable) and runs the
deploy prototxt there. Prints the largest difference of each output relative to its magnitude; exits with 1
if one exceeds 1e-5. OpenCV 4.13 is the last minor version but one with a Caffe importer; 5.0 has none.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

OPENCV = "opencv-python-headless==4.13.0.92"
TOLERANCE = 1e-5

BODY = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 8 kernel_size: 3 pad: 2 dilation: 2 group: 2
    weight_filler { type: "msra" } } }
layer { name: "prelu2" type: "PReLU" bottom: "conv2" top: "conv2" }
layer { name: "skip" type: "Eltwise" bottom: "pool1" bottom: "conv2" top: "skip" }
layer { name: "norm" type: "LRN" bottom: "skip" top: "norm" lrn_param { local_size: 5 alpha: 0.01 } }
layer { name: "fc" type: "InnerProduct" bottom: "norm" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "norm" top: "up"
  convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "msra" } } }
"""
HEADS = """
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
layer { name: "map" type: "Softmax" bottom: "up" top: "map" }
"""
TRAIN = (
    """name: "checked"
layer { name: "data" type: "DummyData" top: "data" top: "label" top: "labels"
  dummy_data_param { data_filler { type: "gaussian" std: 1 } data_filler { value: 3 } data_filler { value: 1 }
    shape { dim: 4 dim: 3 dim: 17 dim: 21 } shape { dim: 4 } shape { dim: 4 dim: 1 dim: 16 dim: 20 } } }
"""
    + BODY
    + """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "loss_map" type: "SoftmaxWithLoss" bottom: "up" bottom: "labels" top: "loss_map" }
"""
)
DEPLOY = 'name: "checked"\ninput: "data"\ninput_shape { dim: 2 dim: 3 dim: 17 dim: 21 }\n' + BODY + HEADS
SOLVER = """train_net: "train.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 20
snapshot_prefix: "checked" random_seed: 1 solver_mode: CPU
"""
READER = """
import cv2, numpy as np
net = cv2.dnn.readNetFromCaffe("deploy.prototxt", "checked_iter_20.caffemodel")
net.setInput(np.load("data.npy"), "data")
blobs = ["fc", "up", "prob", "map"]
outputs = dict(zip(blobs, net.forward(blobs)))
np.savez("opencv.npz", version=cv2.__version__, **outputs)
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = train(folder)
        python = environment(folder / "venv")
        (folder / "reader.py").write_text(READER)
        subprocess.run([python, "reader.py"], cwd=folder, check=True)
        found = np.load(folder / "opencv.npz")
        print(f"OpenCV {found['version']} read checked_iter_20.caffemodel")
        worst = 0.0
        for blob, values in expected.items():
            error = float(np.abs(found[blob] - values).max() / np.abs(values).max())
            worst = max(worst, error)
            print(f"{blob:<5} {'x'.join(map(str, values.shape)):<12} largest relative difference {error:.1e}")
        print("equal" if worst <= TOLERANCE else f"DIFFERENT: more than {TOLERANCE:g}")
        return int(worst > TOLERANCE)


def train(folder: Path) -> dict[str, np.ndarray]:
    """Trains in `folder`, saves, and gives the outputs of the deploy net on data.npy."""
    import torch

    import rlossctl

    for file, text in (("train", TRAIN), ("deploy", DEPLOY), ("solver", SOLVER)):
        (folder / f"{file}.prototxt").write_text(text)
    weights = folder / "checked_iter_20.caffemodel"
    solver = rlossctl.load_solver(folder / "solver.prototxt", device="cpu", prefix=str(folder / "checked"))
    solver.step(20)
    solver.snapshot()
    image = np.random.default_rng(0).standard_normal((2, 3, 17, 21)).astype(np.float32)
    np.save(folder / "data.npy", image)
    with torch.no_grad():
        blobs = rlossctl.load_net(folder / "deploy.prototxt", weights).forward_blobs(
            data=torch.from_numpy(image)
        )
    return {name: blobs[name].numpy() for name in ("fc", "up", "prob", "map")}


def environment(folder: Path) -> Path:
    """A virtual environment with OpenCV; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", OPENCV], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
