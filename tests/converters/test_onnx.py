"""ONNX: what the file holds, and that it computes what the net computes."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import rlossctl
from rlossctl.converters import OnnxOptions
from rlossctl.converters.onnx import writer as onnx_format
from rlossctl.converters.onnx.export import OPSET
from rlossctl.data.modelcard import ModelCard
from rlossctl.errors import NetError, VerificationError
from rlossctl.layers.activation import ReLU
from rlossctl.net.build import load_inference_net
from rlossctl.net.deploy import Deploy
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

pytestmark = pytest.mark.slow  # torch exports each net


@pytest.fixture(scope="module")
def converted(material, tmp_path_factory):
    """The test net as ONNX: (path, verification)."""
    out = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    verification = rlossctl.convert(
        material.test, material.weights, out, placeholders=material.settings, classes=["a", "b", "c", "d"]
    )
    return out, verification


def run(path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def test_one_file_with_named_dynamic_sizes(converted):
    out, _ = converted
    assert [path.name for path in out.parent.iterdir()] == ["tiny.onnx"]
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    (image,) = model.graph.input
    sizes = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
    assert (image.name, sizes) == ("data", ["batch", 3, "height", "width"])
    (scores,) = model.graph.output
    sizes = [size.dim_param or size.dim_value for size in scores.type.tensor_type.shape.dim]
    assert scores.name == "up" and sizes[:2] == ["batch", 4]
    assert not any(entry.external_data for entry in model.graph.initializer)


def test_metadata_says_how_to_feed_the_net_and_where_it_came_from(converted, material):
    model = onnx.load(converted[0])
    (entry,) = [entry for entry in model.metadata_props if entry.key == "rlossctl"]
    content = json.loads(entry.value)
    preprocess = ModelCard.from_json(entry.value).preprocess
    assert preprocess.mean_bgr == pytest.approx((104.008, 116.669, 122.675))
    assert (preprocess.crop, preprocess.channel_order, preprocess.scale) == ((65, 65), "bgr", 1)
    assert (preprocess.stride, preprocess.offset) == (2, 1)
    assert content["classes"] == ["a", "b", "c", "d"] and content["num_classes"] == 4
    assert (content["input"], content["output"]) == ("data", "up")
    assert content["version"] == rlossctl.__version__ == model.producer_version
    for kind, file in (("prototxt", material.test), ("weights", material.weights)):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert content["source"][kind] == {"name": file.name, "sha256": digest}


@pytest.mark.parametrize("shape", [(3, 3, 41, 57), (1, 3, 22, 131)])
def test_scores_at_sizes_that_the_converter_did_not_try(converted, material, shape):
    out, verification = converted
    assert "random " + "x".join(map(str, shape)) not in {entry.trial for entry in verification.comparisons}
    image = (np.random.default_rng(1).standard_normal(shape) * 60).astype(np.float32)
    net = load_inference_net(NetOrigin(material.test, placeholders=material.settings))
    net.copy_from(material.weights)
    with torch.no_grad():
        expected = Deploy(net)(torch.from_numpy(image))[0].numpy()
    found = run(out, image)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_the_verification_tried_several_sizes_and_batches(converted):
    _, verification = converted
    trials = {entry.trial for entry in verification.comparisons}
    assert len(trials) >= 3 and {trial.split("x")[0] for trial in trials} == {"random 1", "random 2"}
    assert 0 < verification.worst.error <= 1e-5 < verification.tolerance
    assert "verified: ONNX Runtime" in verification.lines()[1]


def test_a_training_prototxt_converts_without_its_losses(material, tmp_path):
    out = tmp_path / "train.onnx"
    rlossctl.convert(material.train, material.weights, out, placeholders=material.settings)
    image = np.zeros((1, 3, 33, 33), np.float32)
    scores = run(out, image)
    assert scores.shape == (1, 4, 17, 17), "the scores that the loss reads"
    assert np.array_equal(scores, run(out, image)), "Dropout is an identity"
    assert {node.op_type for node in onnx.load(out).graph.node}.isdisjoint({"Dropout", "RandomUniformLike"})


def test_named_outputs(material, tmp_path):
    out = tmp_path / "two.onnx"
    rlossctl.convert(
        material.test,
        material.weights,
        out,
        placeholders=material.settings,
        outputs=["fc8_toy", "conv1"],
    )
    assert [value.name for value in onnx.load(out).graph.output] == ["fc8_toy", "conv1"]


def test_an_export_that_computes_something_else_fails_and_leaves_nothing(material, tmp_path, monkeypatch):
    """PyTorch's own forward changes after the export: ONNX Runtime must be found to disagree."""
    export = onnx_format.export

    def export_then_break(*args, **kwargs):
        model, values = export(*args, **kwargs)
        monkeypatch.setattr(ReLU, "forward", lambda self, x: x.clamp(min=-0.05))
        return model, values

    monkeypatch.setattr(onnx_format, "export", export_then_break)
    out = tmp_path / "broken.onnx"
    with pytest.raises(VerificationError, match="to differ from the net") as caught:
        rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
    assert caught.value.exit_code == 3 and caught.value.where == str(out)
    assert "relative error" in caught.value.found and "0.0001" in caught.value.expected
    assert list(tmp_path.iterdir()) == []


def test_weights_changed_in_the_file_are_found(material, tmp_path, monkeypatch):
    export = onnx_format.export

    def export_then_break(*args, **kwargs):
        model, named = export(*args, **kwargs)
        weight = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
        values = np.frombuffer(weight.raw_data, np.float32).copy()
        values[0] += 0.5
        weight.raw_data = values.tobytes()
        return model, named

    monkeypatch.setattr(onnx_format, "export", export_then_break)
    out = tmp_path / "broken.onnx"
    out.write_bytes(b"what was there before")
    with pytest.raises(VerificationError, match=r"of layer '\w+' is the first to differ"):
        rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]
    assert out.read_bytes() == b"what was there before"


def test_nan_in_the_weights_is_a_mismatch_not_a_pass(material, tmp_path, monkeypatch):
    monkeypatch.setattr(ReLU, "forward", lambda self, x: x / 0 - x / 0)
    with pytest.raises(VerificationError):
        rlossctl.convert(
            material.test, material.weights, tmp_path / "nan.onnx", placeholders=material.settings
        )


def test_an_output_that_needs_labels_is_refused(material, tmp_path):
    with pytest.raises(NetError, match="needs 'label'"):
        rlossctl.convert(
            material.test,
            material.weights,
            tmp_path / "a.onnx",
            placeholders=material.settings,
            outputs=["accuracy"],
        )
    assert list(tmp_path.iterdir()) == []


def test_inner_products_fix_the_size_and_the_user_is_told(tmp_path):
    from rlossctl.net import load_net
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    prototxt = tmp_path / "lenet.prototxt"
    prototxt.write_text(
        'name: "lenet" input: "data" input_shape { dim: 1 dim: 1 dim: 12 dim: 12 }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        'convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" '
        'inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }\n'
    )
    net = load_net(prototxt)
    write_caffemodel(tmp_path / "w.caffemodel", net.name, layer_records(net))
    out = tmp_path / "lenet.onnx"
    verification = rlossctl.convert(prototxt, tmp_path / "w.caffemodel", out)
    assert "fixed at 12 x 12 by layer 'ip'" in verification.notes[-1]
    image = onnx.load(out).graph.input[0]
    sizes = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, 12, 12]
    assert run(out, np.zeros((4, 1, 12, 12), np.float32)).shape == (4, 5)


def test_dropout_that_samples_in_test_is_refused(tmp_path):
    prototxt, weights = tmp_path / "bayes.prototxt", tmp_path / "w.caffemodel"
    prototxt.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }'
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "c"'
        " convolution_param { num_output: 2 kernel_size: 1 } }"
        'layer { name: "drop" type: "Dropout" bottom: "c" top: "d"'
        " dropout_param { sample_weights_test: true } }"
    )
    net = rlossctl.load_net(prototxt)
    write_caffemodel(weights, net.name, layer_records(net))
    with pytest.raises(NetError, match=r"layer 'drop'.*cannot be exported") as caught:
        rlossctl.convert(prototxt, weights, tmp_path / "bayes.onnx")
    assert "draws at random (sample_weights_test: true" in caught.value.found


LARGE = """name: "large"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 64 dim: 64 } } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }'


@pytest.fixture
def large_scores(tmp_path):
    """large_scores(more layers): a net whose scores reach 1e6 and differ by little, and its weights."""

    def write(more: str):
        prototxt, weights = tmp_path / "large.prototxt", tmp_path / "large.caffemodel"
        prototxt.write_text(LARGE + more)
        net = load_inference_net(NetOrigin(prototxt))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            weight = net.params["score"][0]
            weight.copy_(3e3 * torch.randn(weight.shape[1:], generator=generator))
            weight.add_(1e-3 * torch.randn(weight.shape, generator=generator))
        write_caffemodel(weights, net.name, layer_records(net))
        return prototxt, weights

    return write


@pytest.mark.parametrize("head", ["in the net", "of the file"])
def test_rounding_that_the_net_amplifies_is_accepted(large_scores, tmp_path, head):
    files = large_scores(SOFTMAX if head == "in the net" else "")
    options = OnnxOptions(head=None if head == "in the net" else "softmax")
    verification = rlossctl.convert(*files, tmp_path / "large.onnx", onnx_options=options)
    worst = verification.worst
    assert worst.error > verification.tolerance and worst.accepted(verification.tolerance)
    assert worst.rounding.found <= 4 * worst.rounding.own
    assert f"up to {worst.error:.2g} in {worst.place()}, by rounding alone" in verification.lines()[1]
    assert (tmp_path / "large.onnx").exists()


@pytest.mark.parametrize("fault", ["a weight", "an axis"])
def test_a_fault_in_a_net_that_amplifies_rounding_is_found(large_scores, tmp_path, monkeypatch, fault):
    """Weights off by a thousandth; a softmax over the wrong axis behind scores that nobody knows well."""
    export = onnx_format.export

    def faulty(*args, **kwargs):
        model, values = export(*args, **kwargs)
        if fault == "an axis":
            (node,) = (node for node in model.graph.node if node.op_type == "Softmax")
            next(entry for entry in node.attribute if entry.name == "axis").i = 2
        else:
            (weight,) = (entry for entry in model.graph.initializer if entry.name.endswith("/0"))
            array = onnx.numpy_helper.to_array(weight) * np.float32(1.001)
            weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        return model, values

    monkeypatch.setattr(onnx_format, "export", faulty)
    with pytest.raises(
        VerificationError, match="blob 'prob'" if fault == "an axis" else "blob 'score'"
    ) as error:
        rlossctl.convert(*large_scores(SOFTMAX), tmp_path / "large.onnx")
    assert "where PyTorch's float32 is" in error.value.found and not (tmp_path / "large.onnx").exists()


def test_a_fault_is_not_called_rounding(material, tmp_path, monkeypatch):
    export = onnx_format.export

    def export_then_break(*args, **kwargs):
        model, values = export(*args, **kwargs)
        monkeypatch.setattr(ReLU, "forward", lambda self, x: x.clamp(min=-0.05))
        return model, values

    monkeypatch.setattr(onnx_format, "export", export_then_break)
    with pytest.raises(VerificationError) as caught:
        rlossctl.convert(material.test, material.weights, tmp_path / "o.onnx", placeholders=material.settings)
    assert "report the prototxt" in caught.value.advice and "from float64" in caught.value.found
