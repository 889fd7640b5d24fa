"""Evaluating an edge detector: one score per pixel, several losses, and labels that are maps of 0 to 255."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.evaluation.job import Job, run
from rlossctl.evaluation.predicting.averaging import two_classes
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.onnx_runners import OnnxRunner
from rlossctl.evaluation.running.open_model import open_model
from rlossctl.net.origin import NetOrigin
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.weights import LayerRecord, write_caffemodel

NET = """
layer { name: "data" type: "ImageLabelmapData" top: "data" top: "label"
  image_data_param { source: "list.lst" batch_size: 1 } include { phase: TEST } }
layer { name: "side" type: "Convolution" bottom: "data" top: "side"
  convolution_param { num_output: 1 kernel_size: 1 } }
layer { name: "loss1" type: "SigmoidCrossEntropyLoss" bottom: "side" bottom: "label" top: "loss1" }
layer { name: "fuse" type: "Convolution" bottom: "side" top: "fuse"
  convolution_param { num_output: 1 kernel_size: 1 } }
"""
LOSS = 'layer { name: "loss2" type: "SigmoidCrossEntropyLoss" bottom: "fuse" bottom: "label" top: "loss2" }'
HEADS = """
layer { name: "p1" type: "Sigmoid" bottom: "side" top: "p1" }
layer { name: "p2" type: "Sigmoid" bottom: "fuse" top: "p2" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of grey levels; the net's class 1 is what is above 100, the maps' class 1 what is above 127."""
    monkeypatch.chdir(tmp_path)
    level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.repeat(level[:, :, None], 3, 2)).save("photo.png")
    Image.fromarray(level).save("map.png")
    Path("list.lst").write_text("photo.png map.png\n")
    side = [np.full((1, 3, 1, 1), -1 / 3, "f4"), np.float32([100.5])]
    fuse = [np.full((1, 1, 1, 1), -1, "f4"), np.float32([0])]
    names = {"side": side, "fuse": fuse}
    messages = {name: LayerParameter(name=name, type="Convolution").SerializeToString() for name in names}
    write_caffemodel("w.caffemodel", "edges", [LayerRecord(messages[name], names[name]) for name in names])
    return tmp_path


def test_the_fused_scores_are_compared_with_the_maps(folder: Path) -> None:
    Path("net.prototxt").write_text(NET + LOSS)
    said: list[str] = []
    outcome = run(Job([Named("edges", NetOrigin("net.prototxt", "w.caffemodel"))]), said.append)
    assert "blob 'fuse', one score per pixel: class 1" in said[0] and "maps: from 128 on class 1" in said[0]
    counts = outcome.evaluations["edges"].counts
    found = [(counts.hits[0, index], counts.truth[0, index], counts.predicted[0, index]) for index in (0, 1)]
    assert found == [(101, 128, 101), (128, 128, 155)]


def test_a_deployed_net_gives_its_fused_probabilities(folder: Path) -> None:
    text = NET.replace("ImageLabelmapData", "ImageSegData").replace("batch_size: 1", "label_type: PIXEL")
    deployed = "".join(line for line in text.splitlines(True) if "loss1" not in line)
    Path("net.prototxt").write_text(deployed + HEADS)
    runner = open_model(Named("edges", NetOrigin("net.prototxt", "w.caffemodel"))).runner
    assert "blob 'p2'" in runner.backend and runner.activated and runner.num_classes == 2
    photo = np.float32([99, 102]).reshape(1, 1, 1, 2).repeat(3, 1)
    scores = two_classes(runner.scores(photo), "none")
    np.testing.assert_allclose(scores.sum(1), 1)
    assert (scores[0, 1, 0] > 0.5).tolist() == [False, True]


@pytest.mark.parametrize("head", ["scores", "sigmoid"])
def test_a_converted_net_has_two_classes(tmp_path: Path, make_model, head: str) -> None:
    card = {"num_classes": 1, "input": "data", "output": "scores", "head": head}
    path = make_model(tmp_path / "m.onnx", np.full((1, 3), 0.25), card)
    runner = OnnxRunner(path)
    assert runner.num_classes == 2 and runner.channels == 1 and runner.activated == (head == "sigmoid")
    assert runner.scores(np.ones((1, 3, 1, 1), np.float32)).ravel().tolist() == [0.75]
