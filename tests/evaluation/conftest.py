"""A tiny VOC-layout set and a tiny ONNX model whose right answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from rlossctl.data.palette import save_label_png

SIZES = [(40, 56), (33, 48), (64, 64)]  # height, width


def build_model(path: Path, weight: np.ndarray, metadata: dict | None, stride: int = 1) -> Path:
    """A 1x1 convolution (C, 3) with a stride as an ONNX file."""
    kernel = weight.astype(np.float32).reshape(*weight.shape, 1, 1)
    node = helper.make_node("Conv", ["data", "w"], ["scores"], strides=[stride, stride])
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", len(kernel), "oh", "ow"])],
        [helper.make_tensor("w", TensorProto.FLOAT, kernel.shape, kernel.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if metadata is not None:
        helper.set_model_props(model, {"rlossctl": json.dumps(metadata)})
    onnx.save(model, str(path))
    return path


def preprocess_json(**changes) -> dict:
    fields = {"mean_bgr": [100.0, 110.0, 120.0], "scale": 1.0, "channel_order": "bgr", "crop": [64, 64]}
    return {**fields, **changes}


@pytest.fixture
def make_model() -> Callable[..., Path]:
    """`build_model`, for tests that need another model."""
    return build_model


@pytest.fixture
def tiny_model(tmp_path) -> Path:
    """Scores are the channels (blue, green, red) after the mean: the class is the strongest channel."""
    metadata = {
        "preprocess": preprocess_json(),
        "classes": ["blue", "green", "red"],
        "num_classes": 3,
        "input": "data",
        "scores": "scores",
    }
    return build_model(tmp_path / "tiny.onnx", np.eye(3), metadata)


@pytest.fixture
def voc_folder(tmp_path) -> Path:
    """PNG photos, palette labels with some ignored pixels, a two-column list and a list of bare ids."""
    rng = np.random.default_rng(7)
    root = tmp_path / "voc"
    for name in ("JPEGImages", "SegmentationClassAug"):
        (root / name).mkdir(parents=True)
    pairs, ids = [], []
    for index, (height, width) in enumerate(SIZES):
        name = f"2007_{index:06d}"
        photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        label = rng.integers(0, 3, (height, width), dtype=np.uint8)
        label[rng.random((height, width)) < 0.2] = 255
        Image.fromarray(photo[:, :, ::-1].copy()).save(root / "JPEGImages" / f"{name}.png")
        save_label_png(root / "SegmentationClassAug" / f"{name}.png", label)
        pairs.append(f"JPEGImages/{name}.png SegmentationClassAug/{name}.png")
        ids.append(name)
    (root / "pairs.txt").write_text("\n".join(pairs) + "\n")
    (root / "ids.txt").write_text("\n".join(ids) + "\n")
    return root


@pytest.fixture
def expected_matrix(voc_folder) -> np.ndarray:
    """The confusion matrix of `tiny_model` on `voc_folder`, counted pixel by pixel without the tool."""
    matrix = np.zeros((3, 3), np.int64)
    for line in (voc_folder / "pairs.txt").read_text().splitlines():
        image, label = (voc_folder / name for name in line.split())
        rgb = np.asarray(Image.open(image)).astype(np.float64)
        truth = np.asarray(Image.open(label))
        scores = rgb[:, :, ::-1] - np.array([100.0, 110.0, 120.0])
        for row in range(truth.shape[0]):
            for column in range(truth.shape[1]):
                if truth[row, column] != 255:
                    best = max(range(3), key=lambda c, s=scores[row, column]: (s[c], c))
                    matrix[truth[row, column], best] += 1
    return matrix


@pytest.fixture
def predict(invoke, tiny_model, tmp_path, monkeypatch):
    """predict(*arguments): (exit code, stdout, stderr), run in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model=tiny_model):
        return invoke("predict", model, *arguments)

    return call


@pytest.fixture
def photos(voc_folder):
    return voc_folder / "JPEGImages"
