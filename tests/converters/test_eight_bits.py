"""Files in eight bits: what is rounded, what stays, and what it costs."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from deployed import session

import rlossctl
from rlossctl.cli import cli
from rlossctl.converters import OnnxOptions
from rlossctl.errors import UsageError
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

pytestmark = pytest.mark.slow  # torch exports each net


def eight_bits(material, labelled, tmp_path, **more: object):
    """The tiny net in eight bits: what was said of it, and its graph."""
    out = tmp_path / "int8.onnx"
    options = OnnxOptions(precision="int8", calibrate=str(labelled), root=str(tmp_path), **more)
    verification = rlossctl.convert(
        material.test, material.weights, out, placeholders=material.settings, onnx_options=options
    )
    image = np.zeros((1, 3, 65, 65), np.float32)
    assert session(out).run(None, {"data": image})[0].dtype == np.float32
    return verification, onnx.load(out).graph


def weight_types(graph) -> dict[str, int]:
    """Type of each four-dimensional weight, by the blob that is computed with it."""
    types = {entry.name: entry.data_type for entry in graph.initializer if len(entry.dims) == 4}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    convolutions = (node for node in graph.node if node.op_type == "Conv")
    return {node.output[0]: types[source.get(node.input[1], node.input[1])] for node in convolutions}


@pytest.mark.parametrize("activations", ["uint8", "int8", "uint16"])
def test_eight_bits_per_channel(material, labelled, tmp_path, activations):
    verification, graph = eight_bits(material, labelled, tmp_path, activations=activations)
    assert verification.notes[-1].startswith("int8: on") and "mIoU" in verification.notes[-1]
    weights = [entry for entry in graph.initializer if len(entry.dims) == 4]
    assert {entry.data_type for entry in weights} == {onnx.TensorProto.INT8}
    stem = weights[0].name.removesuffix("_quantized")
    scales = [entry for entry in graph.initializer if entry.name.startswith(stem)]
    assert any(list(entry.dims) == [weights[0].dims[0]] for entry in scales), "a scale for each channel"
    zeros = {entry.name: entry.data_type for entry in graph.initializer}
    kinds = {zeros[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert kinds == {getattr(onnx.TensorProto, activations.upper())}


def test_blobs_in_eight_bits_are_what_the_next_layer_reads(material, labelled, tmp_path):
    """`verify` compares them by name: up to a rounding of each they are the float32 file's."""
    eight_bits(material, labelled, tmp_path)
    rlossctl.convert(
        material.test,
        material.weights,
        tmp_path / "float.onnx",
        placeholders=material.settings,
        onnx_options=OnnxOptions(fold=True),
    )
    files = [str(tmp_path / name) for name in ("float.onnx", "int8.onnx")]
    photos = ["--images", str(labelled), "--root", str(tmp_path), "--tolerance", "0.1"]
    result = CliRunner().invoke(cli, ["verify", *files, *photos, "--report", str(tmp_path / "r.json")])
    entries = json.loads((tmp_path / "r.json").read_text())["comparisons"]
    blobs = {entry["blob"]: entry["error"] for entry in entries if not entry["trial"].startswith("random")}
    assert {"conv1", "pool1", "twin_a", "concat", "up"} <= set(blobs), result.output
    assert 0 < max(blobs.values()) < 0.1


def test_layers_that_eight_bits_leave_alone(material, labelled, tmp_path):
    """conv1 is folded with what follows, and found by its own name; a pattern finds both twins."""
    _, graph = eight_bits(material, labelled, tmp_path, keep=("conv1", "twin_?"))
    types = weight_types(graph)
    assert sorted(types.values()) == [onnx.TensorProto.FLOAT] * 3 + [onnx.TensorProto.INT8]
    assert next(kind for name, kind in types.items() if "fc8_toy" in name) == onnx.TensorProto.INT8


def test_ranges_without_outliers_are_smaller(material, labelled, tmp_path, capfd):
    scales = []
    for ranges in ("minmax", "percentile", "entropy"):
        _, graph = eight_bits(material, labelled, tmp_path, ranges=ranges)
        (name,) = {node.input[1] for node in graph.node if node.input[0] == "data"}
        scales.append(*(onnx.numpy_helper.to_array(e) for e in graph.initializer if e.name == name))
    assert scales[1] < scales[0] and scales[2] <= scales[0]
    assert capfd.readouterr().out == "", "ONNX Runtime prints how it goes, and -o - writes the model there"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"keep": ("conv1",)}, "--int8-keep is for int8"),
        ({"ranges": "entropy"}, "--int8-ranges is for int8"),
        ({"activations": "int8", "precision": "fp16"}, "--int8-activations is for int8"),
    ],
)
def test_options_of_eight_bits_are_for_eight_bits(options, what):
    with pytest.raises(UsageError, match=what):
        OnnxOptions(**options)


def test_a_layer_that_is_not_there(material, labelled, tmp_path):
    with pytest.raises(UsageError, match="no layer matches 'conv'") as refused:
        eight_bits(material, labelled, tmp_path, keep=("conv",))
    assert "conv1" in str(refused.value), "names that are like it"


def test_eight_bits_need_images():
    with pytest.raises(UsageError, match="int8 needs images"):
        OnnxOptions(precision="int8")


CLASHING = """input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "b" type: "Scale" bottom: "p" top: "p" }
layer { name: "b_scale" type: "Scale" bottom: "p" top: "p" }
layer { name: "r" type: "AbsVal" bottom: "p" top: "p" }
layer { name: "score" type: "Convolution" bottom: "p" top: "score"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
"""


def test_layers_named_as_onnx_runtime_names_its_scales(labelled, tmp_path):
    """Of value p@b it makes a weight p@b_scale, which is also what layer b_scale makes."""
    prototxt, weights, out = (tmp_path / name for name in ("n.prototxt", "w.caffemodel", "n.onnx"))
    prototxt.write_text(CLASHING)
    net = rlossctl.load_net(prototxt)
    write_caffemodel(weights, net.name, layer_records(net))
    root, mean = str(labelled.parent), (0.0, 0.0, 0.0)
    options = OnnxOptions(precision="int8", calibrate=str(labelled), root=root, mean=mean)
    verification = rlossctl.convert(prototxt, weights, out, onnx_options=options)
    assert [entry.layer for entry in verification.noise] == ["p", "b", "b_scale", "r", "score"]
    assert all(entry.whole > 15 for entry in verification.noise)
