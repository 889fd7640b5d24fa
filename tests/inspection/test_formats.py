"""`rlossctl inspect` on every format, and what it must not load."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import rlossctl
from rlossctl.errors import UsageError
from rlossctl.inspection import inspect
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import SolverState, write_caffemodel, write_caffemodel_h5, write_solverstate
from rlossctl.weights.encode import blob_pieces, framed
from rlossctl.weights.wire import encode_bytes


def content(path) -> dict:
    report = inspect(NetOrigin(path))
    json.dumps(report.as_dict())
    assert report.as_text()
    return report.as_dict()


@pytest.mark.parametrize(
    ("name", "form"), [("v0_small.in", "V0"), ("v1_small.in", "V1"), ("v1_small.out", "V2")]
)
def test_forms_of_caffemodels(golden, name, form):
    found = content(golden / "legacy" / f"{name}.caffemodel")
    assert (found["form"], found["dialect"]) == (form, "bvlc")


def test_legacy_shapes_are_counted(tmp_path):
    blobs = [blob_pieces(np.ones((1, 1, 2, 2), "f4"), legacy=True), blob_pieces(np.ones(2, "f4"))]
    layer = encode_bytes(1, b"x") + b"".join(bytes(p) for blob in blobs for p in framed(7, blob))
    (tmp_path / "w.caffemodel").write_bytes(encode_bytes(100, layer))
    assert content(tmp_path / "w.caffemodel")["legacy_shapes"] == 1


def test_dialects_of_caffemodels(tmp_path):
    for kind, dialect in (("Interp", "rloss"), ("BN", "segnet"), ("ReLU", "bvlc")):
        message = encode_bytes(1, b"x") + encode_bytes(2, kind.encode())
        write_caffemodel(tmp_path / "w.caffemodel", "n", [(message, [np.ones(2)])])
        assert content(tmp_path / "w.caffemodel")["dialect"] == dialect


@pytest.mark.parametrize("suffix", [".solverstate", ".solverstate.h5"])
def test_solverstates(suffix, tmp_path):
    state = SolverState(7, "w.caffemodel", [np.ones((2, 3), "f4")], current_step=1)
    write_solverstate(tmp_path / f"s{suffix}", state)
    found = content(tmp_path / f"s{suffix}")
    assert (found["iteration"], found["learned_net"], found["history"]) == (7, "w.caffemodel", [[2, 3]])


def test_a_mean(tmp_path):
    data = b"".join(map(bytes, blob_pieces(np.full((1, 3, 2, 2), 5, "f4"), legacy=True)))
    (tmp_path / "mean.binaryproto").write_bytes(data)
    assert content(tmp_path / "mean.binaryproto")["mean"] == [5, 5, 5]


def test_tensors(tmp_path):
    save_file({"a/0": np.ones((2, 3), "f4")}, tmp_path / "w.safetensors", {"note": "mine"})
    found = content(tmp_path / "w.safetensors")
    assert found["tensors"] == {"a/0": {"type": "F32", "shape": [2, 3]}} and found["metadata"] == ["note"]
    torch.save({"state_dict": {"x.y": torch.zeros(4)}, "epoch": 3, "optimizer": {"a": 1}}, tmp_path / "w.pth")
    found = content(tmp_path / "w.pth")
    assert found["others"] == {"epoch": "3", "optimizer": "dict of 1"} and found["values"] == 4
    assert found["origin"] == "not from a program that rlossctl convert knows"


def test_a_known_program(tmp_path):
    tensors = {
        "aspp.aspp1.atrous_conv.weight": torch.zeros(2),
        "backbone.features.0.0.weight": torch.zeros(2),
    }
    tensors["decoder.last_conv.8.weight"] = torch.zeros(19, 2, 1, 1)
    torch.save({"state_dict": tensors}, tmp_path / "w.pth.tar")
    origin = content(tmp_path / "w.pth.tar")["origin"]
    assert "rloss program" in origin and "the net deeplabv3plus_mobilenet, NUM_LABELS 19" in origin


@pytest.mark.slow
def test_onnx(material, tmp_path):
    rlossctl.convert(material.test, material.weights, tmp_path / "m.onnx", placeholders=material.settings)
    found = content(tmp_path / "m.onnx")
    assert found["operators"]["Conv"] == 4 and found["opset"]["ai.onnx"] >= 18
    assert found["inputs"][0].startswith("data ")


def test_only_a_net_is_drawn(tmp_path):
    write_caffemodel(tmp_path / "w.caffemodel", "n", [(encode_bytes(1, b"x"), [np.ones(2)])])
    with pytest.raises(UsageError, match="only a net"):
        inspect(NetOrigin(tmp_path / "w.caffemodel"), draw=tmp_path / "d.svg")


def test_a_caffemodel_is_inspected_without_numpy_protobuf_or_torch(golden):
    """What makes the command quick; benchmarks/caffemodel.py measures it."""
    program = (
        "import sys; from rlossctl.cli import cli; cli.main(sys.argv[1:], standalone_mode=False);"
        "print(sorted({'numpy', 'torch', 'google.protobuf'} & set(sys.modules)))"
    )
    file = golden / "legacy" / "v1_small.out.caffemodel"
    done = subprocess.run(
        [sys.executable, "-c", program, "inspect", str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_endless_names_are_cut(tmp_path):
    """Whole in the JSON; in the text, and in the width of a table, as far as they can be read."""
    long = "x" * 100_000
    net = tmp_path / "net.prototxt"
    net.write_text(
        f'name: "{long}" input: "a" input_shape {{ dim: 2 }}\n'
        f'layer {{ name: "{long}" type: "ReLU" bottom: "a" top: "{long}" }}\n'
    )
    report = inspect(NetOrigin(net))
    assert len(report.as_text()) < 20_000 and "(100,000 characters)" in report.as_text()
    assert report.as_dict()["name"] == long


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5", ".safetensors", ".onnx"])
def test_values_that_are_not_finite_are_named(tmp_path, suffix):
    sound, broken = np.ones((2, 3), np.float32), np.ones(4, np.float32)
    broken[1:3] = np.nan, np.inf
    sound[0, 0] = 3e38  # large, but a number
    path = tmp_path / f"w{suffix}"
    if suffix == ".caffemodel":
        write_caffemodel(path, "n", [(encode_bytes(1, b"c1"), [sound, broken])])
    elif suffix == ".caffemodel.h5":
        write_caffemodel_h5(path, [("c1", {0: sound, 1: broken})])
    elif suffix == ".safetensors":
        save_file({"c1/0": sound, "c1/1": broken}, path)
    else:
        import onnx

        tensors = [onnx.numpy_helper.from_array(sound, "a"), onnx.numpy_helper.from_array(broken, "c1/1")]
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), path)
    report = inspect(NetOrigin(path))
    place = "layer 'c1' blob 1" if "caffemodel" in suffix else "tensor 'c1/1'"
    assert report.as_dict()["not_finite"] == [
        {"place": place, "wrong": 2, "of": 4, "first": "NaN first, at [1]"}
    ]
    assert f"{place}: 2 of 4 values (NaN first, at [1])" in report.as_text()


def test_finite_values_are_not_mentioned(tmp_path):
    write_caffemodel(tmp_path / "w.caffemodel", "n", [(encode_bytes(1, b"x"), [np.full(9, 3e38)])])
    assert "NOT FINITE" not in inspect(NetOrigin(tmp_path / "w.caffemodel")).as_text()
