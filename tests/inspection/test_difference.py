"""`rlossctl diff`: what differs, in words, and the exit status of diff(1)."""

from __future__ import annotations

import json

import h5py
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

import rlossctl
from rlossctl.cli import cli
from rlossctl.errors import WeightsError
from rlossctl.inspection.difference import difference
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import SolverState, write_caffemodel, write_solverstate
from rlossctl.weights.wire import encode_bytes

NET = """name: "n" input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
layer { name: "a" type: "Convolution" bottom: "x" top: "a"
  convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
"""


@pytest.fixture
def files(tmp_path):
    """files(name=content) writes prototxts (from text) or safetensors and gives their paths."""

    def write(**contents: object):
        paths = []
        for name, content in contents.items():
            if isinstance(content, str):
                path = tmp_path / f"{name}.prototxt"
                path.write_text(content)
            else:
                path = tmp_path / f"{name}.safetensors"
                save_file(content, path)
            paths.append(path)
        return paths

    return write


def changes(first, second, **options) -> list[str]:
    return list(difference(NetOrigin(first), NetOrigin(second), **options).changes)


def test_nets(files):
    other = NET.replace("kernel_size: 3", "kernel_size: 5 dilation: 2").replace(
        '"r" type: "ReLU"', '"e" type: "ELU"'
    )
    assert changes(*files(a=NET, b=other)) == [
        "~ a: convolution_param.kernel_size 3 -> 5",
        "~ a: convolution_param.dilation (not set) -> 2",
        "- layer r (ReLU)",
        "+ layer e (ELU)",
    ]
    assert difference(*map(NetOrigin, files(a=NET, b=NET))).lines() == ["no differences in 2 layers"]


def test_solvers(files):
    first, second = files(
        a='net: "n" base_lr: 0.1 max_iter: 5', b='net: "n" base_lr: 0.01 snapshot: 3 max_iter: 5'
    )
    assert changes(first, second) == ["~ base_lr: 0.1 -> 0.01", "+ snapshot: 3"]


def test_blobs(files):
    a = np.array([[3, 4], [0, 0]], "f4")
    first, second = files(a={"c/0": a, "c/1": a, "d/0": a}, b={"c/0": a * 2, "c/1": a.reshape(4), "e/0": a})
    assert changes(first, second) == [
        "~ c/0: 2x2: 2 of 4 values differ, by at most 4 (1 of its magnitude); norm 5 -> 10",
        "~ c/1: 2x2 -> 4",
        "- blob d/0 2x2",
        "+ blob e/0 2x2",
    ]


def test_tolerance_and_nan(files):
    a = np.array([1, np.nan, np.inf], "f4")
    first, second, third = files(a={"c/0": a}, b={"c/0": a * np.float32(1.001)}, c={"c/0": np.ones(3, "f4")})
    assert changes(first, second, tolerance=0.01) == [] != changes(first, second)
    assert "by at most inf" in changes(first, third, tolerance=0.01)[0]


def test_across_formats(material, tmp_path):
    for suffix in (".pt", ".h5"):
        rlossctl.convert(
            material.test, material.weights, tmp_path / f"w{suffix}", placeholders=material.settings
        )
    result = difference(NetOrigin(tmp_path / "w.pt"), NetOrigin(tmp_path / "w.h5"))
    assert result.equal and result.compared.endswith("blobs")
    result = difference(NetOrigin(material.weights), NetOrigin(tmp_path / "w.pt"))
    assert list(result.changes) == ["- blob twin_b/0 6x6x3x3", "- blob twin_b/1 6"]  # shared: once
    result = difference(NetOrigin(material.test, placeholders=material.settings), NetOrigin(material.weights))
    assert result.compared == "6 layers" and list(result.changes[-1:]) == [
        "+ layer conv_conv_0_split (Split)"
    ]


@pytest.mark.slow
def test_onnx_models(material, tmp_path):
    out = tmp_path / "m.onnx"
    rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
    result = difference(NetOrigin(out), NetOrigin(out))
    assert result.equal and "layers" in result.compared and "blobs" in result.compared


def test_onnx_values_that_are_not_there(tmp_path):
    tensor = onnx.TensorProto(name="w", dims=[4], data_type=onnx.TensorProto.FLOAT, data_location=1)
    tensor.external_data.add(key="location", value="w.bin")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(WeightsError, match="cannot be read"):
        difference(NetOrigin(tmp_path / "a.onnx"), NetOrigin(tmp_path / "b.onnx"))
    (tmp_path / "w.bin").write_bytes(bytes(3))
    with pytest.raises(WeightsError, match="cannot be read"):
        difference(NetOrigin(tmp_path / "a.onnx"), NetOrigin(tmp_path / "b.onnx"))
    (tmp_path / "w.bin").write_bytes(bytes(16))
    assert difference(NetOrigin(tmp_path / "a.onnx"), NetOrigin(tmp_path / "b.onnx")).equal


def test_solver_states(tmp_path):
    paths = [tmp_path / "a.solverstate", tmp_path / "b.solverstate"]
    for number, path in enumerate(paths):
        write_solverstate(path, SolverState(number, "w", [np.full(2, number, "f4")]))
    assert [line[:12] for line in changes(*paths)] == ["~ history/0:", "~ iter: 0 ->"]


def test_exit_status(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        record = (encode_bytes(1, b"x"), [np.full(2, value)])
        write_caffemodel(tmp_path / f"{name}.caffemodel", "n", [record])
    a, b = str(tmp_path / "a.caffemodel"), str(tmp_path / "b.caffemodel")
    (tmp_path / "s.prototxt").write_text('net: "n" base_lr: 1')
    run = CliRunner().invoke
    assert run(cli, ["diff", a, a]).exit_code == 0
    done = run(cli, ["diff", a, b, "--json"])
    assert done.exit_code == 1 and json.loads(done.stdout)["equal"] is False
    for other in (str(tmp_path / "none.caffemodel"), str(tmp_path / "s.prototxt")):
        done = run(cli, ["diff", a, other])
        assert done.exit_code == 2 and done.stderr.startswith("error: ")


@pytest.mark.parametrize("name", ["v0_small.in", "v1_small.in", "v1_small.out"])
def test_a_round_trip_through_hdf5_changes_nothing(golden, tmp_path, name):
    """Old files state four dimensions, HDF5 the blob's own; what was made of HDF5 has no layer types."""
    old = golden / "legacy" / f"{name}.caffemodel"
    middle, new = tmp_path / "w.caffemodel.h5", tmp_path / "w.caffemodel"
    rlossctl.convert(old, None, middle)
    rlossctl.convert(middle, None, new)
    for pair in ((old, middle), (middle, new), (old, new), (new, old)):
        result = difference(*map(NetOrigin, pair))
        assert result.equal and result.compared.endswith("blobs"), result.changes


def test_what_a_round_trip_through_hdf5_did_change_is_found(golden, tmp_path):
    old, middle = golden / "legacy" / "v1_small.in.caffemodel", tmp_path / "w.caffemodel.h5"
    rlossctl.convert(old, None, middle)
    with h5py.File(middle, "r+") as file:
        file["data/fc/0"][2, 3] += 1
        del file["data/conv1/1"]
    found = changes(old, middle)
    assert [line.partition(":")[0] for line in found] == ["- blob conv1/1 1x1x1x4", "~ fc/0"]
    assert "1 of 120 values differ" in found[1]


def test_a_blob_that_hdf5_stores_under_another_name_is_not_missing(material, tmp_path):
    whole, once = tmp_path / "w.caffemodel", tmp_path / "w.caffemodel.h5"
    for out in (whole, once):
        rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
    assert (
        difference(NetOrigin(whole), NetOrigin(once)).equal
        and difference(NetOrigin(once), NetOrigin(whole)).equal
    )
    with h5py.File(once, "r+") as file:
        file["data/twin_a/0"][0, 0, 0, 0] += 1
    assert [line.partition(":")[0] for line in changes(whole, once)] == ["~ twin_a/0", "~ twin_b/0"]
