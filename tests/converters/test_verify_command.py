"""`rlossctl verify`, and the comparison under it: two models, and where they part."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import helper

import rlossctl
from rlossctl.cli import cli
from rlossctl.converters import OnnxOptions
from rlossctl.converters.onnx.attach import Ends
from rlossctl.converters.onnx.finished_file import FinishedFile
from rlossctl.converters.verifying import graph_pieces
from rlossctl.converters.verifying.blob_streams import TorchModel
from rlossctl.converters.verifying.comparison import compare
from rlossctl.converters.verifying.graph_pieces import Segments
from rlossctl.converters.verifying.index_blobs import choice_of
from rlossctl.converters.verifying.trials import Trial
from rlossctl.errors import NetError, UsageError, VerificationError, WeightsError
from rlossctl.net.deploy import Deploy
from rlossctl.net.saved import layer_records
from rlossctl.weights import load_caffemodel, write_caffemodel


@pytest.fixture(scope="module")
def files(material, tmp_path_factory):
    """(A as prototxt,caffemodel; its ONNX form, folded; the folder)."""
    folder = tmp_path_factory.mktemp("verify")
    for name in ("folded.onnx", "tiny.safetensors"):
        options = OnnxOptions(fold=True) if name.endswith("onnx") else None
        rlossctl.convert(
            material.test,
            material.weights,
            folder / name,
            placeholders=material.settings,
            onnx_options=options,
        )
    return f"{material.test},{material.weights}", folder / "folded.onnx", folder


def verify(material, *arguments: object):
    settings = [f"--set={name}={value}" for name, value in material.settings.items()]
    return CliRunner().invoke(cli, ["verify", *map(str, arguments), *settings])


@pytest.mark.slow
def test_a_folded_model_agrees_in_every_blob_that_it_has(files, material):
    result = verify(material, *files[:2])
    assert result.exit_code == 0, result.output
    assert "2 blobs of A are missing in B" in result.output, "conv1 and bn1 before scale1"
    assert "argmax of 'up' differs on 0.0000%" in result.output


def test_safetensors_carry_their_net(files, material):
    assert verify(material, files[2] / "tiny.safetensors", files[1]).exit_code == 0


def test_the_layer_with_other_weights_is_named(files, material, tmp_path):
    model = load_caffemodel(material.weights)
    values = {
        (layer.name, index): blob.array().copy()
        for layer in model.layers
        for index, blob in enumerate(layer.blobs)
    }
    values["twin_b", 0][...] *= 1.01
    values["twin_a", 0][...] *= 1.01  # shared
    model.with_blobs(values).save(tmp_path / "other.caffemodel")
    report = tmp_path / "report.json"
    result = verify(material, files[1], f"{material.test},{tmp_path}/other.caffemodel", "--report", report)
    assert isinstance(result.exception, VerificationError) and result.exception.exit_code == 3
    assert "of layer 'twin_a' is the first to differ" in str(result.exception)
    content = json.loads(report.read_text())
    bad = [entry for entry in content["comparisons"] if entry["error"] > 1e-4]
    assert bad[0]["layer"] == "twin_a" and bad[0]["found"] != bad[0]["expected"]
    assert len(bad[0]["position"]) == 4


def test_half_a_model_is_a_usage_error(material):
    result = verify(material, material.test, material.test)
    assert isinstance(result.exception, UsageError) and "half a model" in str(result.exception)


def relu(*, inputs: dict[str, tuple[int, list[int]]], reads: str = "data", card: str = "") -> onnx.ModelProto:
    """An ONNX model of one ReLU that makes the blob conv1."""
    entries = [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
    output = helper.make_tensor_value_info("conv1", 1, None)
    node = helper.make_node("Relu", [reads], ["conv1"])
    model = helper.make_model(helper.make_graph([node], "g", entries, [output]))
    if card:
        model.metadata_props.add(key="rlossctl", value=card)
    return model


WEIRD = {
    "no input": ({"inputs": {}}, "no input"),
    "two inputs": ({"inputs": {"data": (1, [1, 3, 8, 8]), "more": (1, [1])}}, "more float"),
    "whole numbers": ({"inputs": {"data": (7, [1, 3, 8, 8])}}, "data int64"),
    "a scalar": ({"inputs": {"data": (1, [])}}, r"data float \[\]"),
    "negative": ({"inputs": {"data": (1, [1, -3, 8, 8])}}, "-3"),
    "huge": ({"inputs": {"data": (1, [1, 3, 2**20, 2**20])}}, "1048576"),
    "rank": ({"inputs": {"data": (1, [1, 3])}}, "1 x 3"),
    "channels": ({"inputs": {"data": (1, [1, 5, 8, 8])}}, "any x 3 x any x any and 1 x 5 x 8 x 8"),
    "card": ({"inputs": {"data": (1, [1, 3, 8, 8])}, "card": '{"blobs": 5}'}, "metadata"),
    "names": (
        {"inputs": {"data": (1, [1, 3, 8, 8])}, "card": '{"blobs": {"conv1": 5}}'},
        "blobs that are no",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIRD)
def test_models_that_take_something_else_are_refused(files, material, tmp_path, kind):
    arguments, words = WEIRD[kind]
    out = tmp_path / "weird.onnx"
    out.write_bytes(relu(**arguments).SerializeToString())
    result = verify(material, files[0], out)
    assert isinstance(result.exception, NetError), result.output
    assert re.search(words, str(result.exception)), str(result.exception)


@pytest.mark.slow
def test_files_that_are_no_models(files, material, tmp_path):
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "caffe.onnx").write_bytes(material.weights.read_bytes())
    for name in ("empty.onnx", "folder.onnx", "caffe.onnx", "missing.onnx"):
        result = verify(material, files[0], tmp_path / name)
        assert isinstance(result.exception, WeightsError), (name, result.output)
    result = verify(material, files[0], f"{material.test},{files[1]}")
    assert isinstance(result.exception, UsageError) and "already has its net" in str(result.exception)


def test_external_data_outside_of_the_folder_is_not_read(files, material, tmp_path):
    model = onnx.load(files[1])
    tensor = next(entry for entry in model.graph.initializer if len(entry.dims) == 4)
    del tensor.external_data[:]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/hostname")
    (tmp_path / "out.onnx").write_bytes(model.SerializeToString())
    result = verify(material, files[0], tmp_path / "out.onnx")
    assert isinstance(result.exception, WeightsError) and "outside the model's folder" in str(
        result.exception
    )


def test_another_number_of_classes_is_named(files, material, tmp_path):
    text = material.test.read_text().replace("num_output: ${NUM_LABELS}", "num_output: 7")
    other = tmp_path / "other.prototxt"
    other.write_text(text)
    net = rlossctl.load_net(other, **material.settings)
    same = rlossctl.load_net(material.test, material.weights, **material.settings)
    for layer in ("conv1", "bn1", "scale1", "twin_a"):
        for mine, theirs in zip(net.params[layer], same.params[layer], strict=True):
            mine.data.copy_(theirs)
    write_caffemodel(tmp_path / "other.caffemodel", net.name, layer_records(net))
    result = verify(material, files[0], f"{other},{tmp_path / 'other.caffemodel'}")
    assert isinstance(result.exception, VerificationError), result.output
    assert "'fc8_toy'" in str(result.exception) and "(1, 7, " in str(result.exception)


@pytest.mark.slow
def test_a_model_that_takes_photos_is_not_comparable(files, material, tmp_path):
    out = tmp_path / "photos.onnx"
    options = OnnxOptions(preprocessing=True)
    rlossctl.convert(
        material.test, material.weights, out, placeholders=material.settings, onnx_options=options
    )
    result = verify(material, files[0], out)
    assert isinstance(result.exception, NetError) and "takes photos" in str(result.exception)


def test_opencv_agrees(build, tmp_path):
    pytest.importorskip("cv2")
    prototxt, weights = tmp_path / "n.prototxt", tmp_path / "w.caffemodel"
    prototxt.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 20 }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        'convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }\n'
        'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
    )
    net = rlossctl.load_net(prototxt)
    write_caffemodel(weights, net.name, layer_records(net))
    named = f"{prototxt},{weights}"
    result = CliRunner().invoke(cli, ["verify", named, named, "--runtime", "opencv"], catch_exceptions=False)
    assert result.exit_code == 0 and "OpenCV" in result.output


@pytest.fixture
def faulty(material, tmp_path):
    """An ONNX file in which one layer of the net pads one side more than the other."""
    path = tmp_path / "faulty.onnx"
    options = OnnxOptions(verify=False)
    rlossctl.convert(
        material.test, material.weights, path, placeholders=material.settings, onnx_options=options
    )
    model = onnx.load(path)
    (node,) = [node for node in model.graph.node if node.name == "twin_b"]
    (pads,) = [entry for entry in node.attribute if entry.name == "pads"]
    pads.ints[:] = [1, 1, 3, 3]
    onnx.save(model, path)
    return path


def test_a_fault_is_reduced_to_its_layer(material, faulty, tmp_path):
    folder = tmp_path / "fault"
    result = verify(material, f"{material.test},{material.weights}", faulty, "--reduce", folder)
    assert isinstance(result.exception, VerificationError)
    assert f"reduced to 1 layer of A (twin_b), in {folder}" in result.output
    written = {path.name for path in folder.iterdir()}
    assert written == {"a.prototxt", "a.caffemodel", "b.onnx", "inputs.safetensors"}
    command = result.output.split("&& rlossctl ")[1].split()
    again = CliRunner().invoke(cli, [str(folder / w) if "." in w and "," not in w else w.replace(
        "a.", f"{folder}/a.") for w in command])  # fmt: skip
    assert isinstance(again.exception, VerificationError), again.output
    assert "of layer 'twin_b' is the first to differ" in str(again.exception)


def test_what_grows_over_many_layers_is_cut_by_bisection(material, faulty, tmp_path):
    """No single layer differs by the tolerance, but a part of the net does."""
    from rlossctl.converters.opening import open_blobs, open_onnx
    from rlossctl.converters.verifying.reduction import Reduction
    from rlossctl.net.origin import NetOrigin

    reference = open_blobs(NetOrigin(material.test, material.weights, material.settings))
    image = np.random.default_rng(0).standard_normal((1, 3, 33, 33)).astype(np.float32)
    bad = compare("t", "fc8_toy", np.ones(3), np.zeros(3))
    reduced = Reduction(reference, open_onnx(faulty), Trial("t", image), bad, 1e-4).write(tmp_path / "part")
    assert reduced.layers[0] == "twin_b" and reduced.layers[-1] == "fc8_toy" and len(reduced.layers) > 3


def test_a_net_with_batch_norm_runs_in_double_precision(material):
    from rlossctl.converters.opening import open_blobs
    from rlossctl.net.origin import NetOrigin

    model = open_blobs(NetOrigin(material.test, material.weights, material.settings))
    image = np.random.default_rng(0).standard_normal((1, 3, 33, 33))
    (double,) = model.doubled().blobs(image, {"up"})
    (single,) = model.blobs(image.astype(np.float32), {"up"})
    assert double.array.dtype == np.float64 and single.array.dtype == np.float32
    assert 0 < np.abs(double.array - single.array).max() < 1e-5 * np.abs(double.array).max()


def test_a_folder_with_files_is_refused(material, faulty, tmp_path):
    result = verify(material, f"{material.test},{material.weights}", faulty, "--reduce", tmp_path)
    assert isinstance(result.exception, UsageError) and "new or an empty folder" in str(result.exception)


def test_pieces_of_a_graph_give_what_the_whole_gives(files, monkeypatch):
    import onnxruntime

    model = onnx.load(files[1])
    names = [name for node in model.graph.node for name in node.output]
    image = np.random.default_rng(0).standard_normal((2, 3, 33, 41)).astype(np.float32)
    monkeypatch.setattr(graph_pieces, "VALUES", 5)
    pieces = Segments(model, names)
    assert len(pieces._pieces) > 1
    found = dict(pieces.run({"data": image}, names))
    whole = onnxruntime.InferenceSession(files[1], providers=["CPUExecutionProvider"]).run(
        None, {"data": image}
    )
    assert list(found) == names
    np.testing.assert_allclose(found["up"], whole[0], atol=1e-5 * np.abs(whole[0]).max())


POOL = """
input: "x" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }
layer { name: "pool" type: "Pooling" bottom: "x" top: "p" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
"""


def test_either_of_two_equal_places_may_be_chosen_but_no_other(build):
    deploy = Deploy(build(POOL, "TEST"), ["mask"]).eval()
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    image[..., 0, 0] = image[..., 1, 1]  # places 0 and 5 are equal
    step = next(deploy.walk(image))
    assert choice_of(step, 0) is None
    choice = choice_of(step, 1)
    mask = step.tops[1].numpy().copy()
    assert mask.ravel().tolist() == [0, 7, 13, 15]
    mask[0, 0, 0, 0] = 5
    equal = choice.compare("t", "mask", mask, "pool")
    assert equal.error == 0 and equal.disagreement == 0.25
    for wrong, error in ((1, 4 / 15), (6, np.inf), (99, np.inf)):
        mask[0, 0, 0, 0] = wrong
        assert choice.compare("t", "mask", mask, "pool").error == pytest.approx(error)
    mask[0, 0, 0, 0] = 5
    choice.follow("t", "mask", mask, "pool")
    assert step.tops[1].ravel().tolist() == [5, 7, 13, 15]


@pytest.mark.parametrize(("image", "error"), [(np.ones((4, 4)), 0), (np.arange(16.0).reshape(4, 4), 1 / 15)])
def test_a_file_may_take_another_of_equal_places_on_its_way(build, tmp_path, image, error):
    """Unpooling puts a value to the place that the file chose; a worse choice is told where it is made."""
    net = build(
        'input: "data" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 } '
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "small" top: "mask" '
        "pooling_param { kernel_size: 2 stride: 2 } } "
        'layer { name: "up" type: "Upsample" bottom: "small" bottom: "mask" top: "up" }',
        "TEST",
    )
    mask = np.array([[5, 7], [13, 14]], np.float32)  # the last of each window, but 14 in place of 15
    up = np.zeros(16, np.float32)
    up[mask.astype(int)] = image[1::2, 1::2]
    values = {"mask": mask[None, None], "up": up.reshape(1, 1, 4, 4)}
    nodes = [
        onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))
        for name, array in values.items()
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 1, 4, 4))
        for name in ("data", "up")
    ]
    graph = onnx.helper.make_graph(nodes, "chosen", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "chosen.onnx")
    model = TorchModel(Deploy(net), None, dynamic=False)
    trial = Trial("a photo", image[None, None].astype(np.float32))
    mask, up = FinishedFile(tmp_path / "chosen.onnx", model, Ends()).compare_trials([trial])
    assert mask.blob == "mask" and mask.error == pytest.approx(error)
    assert up.blob == "up" and up.error == 0
