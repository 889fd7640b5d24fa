"""Every file that `convert` writes says what it was made from, and `inspect` shows it."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest

import rlossctl
from rlossctl.weights import provenance, write_caffemodel

NET = """name: "tiny" input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 2 kernel_size: 1 } }
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """net.prototxt and its weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    arrays = np.ones((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)
    message = b'\n\x01c\x12\tParameter"\x01c'  # LayerParameter: name, type, top
    write_caffemodel(tmp_path / "w.caffemodel", "tiny", [(message, arrays)])
    return tmp_path


def digest(path) -> dict[str, str]:
    return {"name": path.name, "sha256": sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize("out", ["new.prototxt", "w.caffemodel.h5", "w.safetensors", "w.pt"])
def test_weights_alone(files, invoke, out):
    assert invoke("convert", "w.caffemodel", "-o", out)[0] == 0
    source = json.loads(invoke("inspect", out, "--json")[1])["source"]
    assert source == {
        "weights": digest(files / "w.caffemodel"),
        "tool": {"name": "rlossctl", "version": rlossctl.__version__},
        "net": {"dialect": "bvlc"},
    }
    shown = invoke("inspect", out)[1]
    assert f"made from       weights w.caffemodel, SHA-256 {source['weights']['sha256']}\n" in shown
    assert f"made by         rlossctl {rlossctl.__version__}, dialect bvlc\n" in shown


@pytest.mark.parametrize("out", ["m.caffemodel.h5", "m.safetensors", "m.pt", "m.onnx"])
def test_a_net_with_weights(files, invoke, out):
    extra = ["--no-verify"] if out.endswith("onnx") else []
    assert invoke("convert", "net.prototxt", "w.caffemodel", "-o", out, *extra)[0] == 0
    source = json.loads(invoke("inspect", out, "--json")[1])["source"]
    assert source["prototxt"] == digest(files / "net.prototxt")
    assert source["weights"] == digest(files / "w.caffemodel")
    assert source["net"] == {"dialect": "bvlc"}


def test_a_prototxt_is_upgraded_with_its_origin_and_still_read(files, invoke):
    assert invoke("convert", "net.prototxt", "-o", "new.prototxt")[0] == 0
    assert json.loads(invoke("inspect", "new.prototxt", "--json")[1])["source"]["prototxt"] == digest(
        files / "net.prototxt"
    )
    assert rlossctl.load_net("new.prototxt").params.keys() == {"c"}
    assert json.loads(invoke("inspect", "net.prototxt", "--json")[1])["source"] == {}


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"weights": 3}', '{"weights": {"name": 3}}'])
def test_what_others_wrote_there_is_not_shown(text):
    assert provenance.read(text) == {}
