"""caffemodel, safetensors and PyTorch checkpoints: blobs bit for bit, shared ones once, and errors."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open

import rlossctl
from rlossctl.converters.formats import caffemodel, flat_names
from rlossctl.errors import RlossError, UsageError, VerificationError, WeightsError
from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.prototxt import parse_net
from rlossctl.weights import load_caffemodel, load_weights, write_caffemodel

SHARED = {"twin_b/0": "twin_a/0", "twin_b/1": "twin_a/1"}


@pytest.fixture
def convert(material, tmp_path):
    """convert(suffix, **options) writes tmp_path/out<suffix> and gives its path."""

    def write(suffix: str, **options: object):
        out = tmp_path / f"out{suffix}"
        settings = {"placeholders": material.settings, **options}
        rlossctl.convert(material.test, material.weights, out, **settings)
        return out

    return write


@pytest.fixture(scope="module")
def net(material):
    net = load_inference_net(NetOrigin(material.test, placeholders=material.settings))
    net.copy_from(material.weights)
    return net


def owned(net) -> dict[str, np.ndarray]:
    arrays = {
        f"{layer}/{index}": blob.detach().numpy()
        for layer, tensors in net.params.items()
        for index, blob in enumerate(tensors)
    }
    return {name: array for name, array in arrays.items() if name not in SHARED}


def test_safetensors(convert, net):
    with safe_open(convert(".safetensors"), "np") as file:
        metadata = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    expected = owned(net)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert json.loads(metadata["shared"]) == SHARED
    assert parse_net(metadata["prototxt"]).param == net.param
    assert json.loads(metadata["source"])["tool"]["name"] == "rlossctl"


def test_checkpoint_is_read_with_weights_only(convert, net):
    content = torch.load(convert(".pt"), weights_only=True)
    expected = owned(net)
    assert content["state_dict"].keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(content["state_dict"][name].numpy(), array)
    assert content["shared"] == SHARED and content["source"]["weights"]["name"] == "tiny.caffemodel"
    assert parse_net(content["prototxt"]).param == net.param


def test_caffemodel_holds_every_layer_and_repeats_shared_blobs_as_caffe_does(convert, net):
    model = load_caffemodel(convert(".caffemodel"))
    found = {
        f"{layer.name}/{index}": blob for layer in model.layers for index, blob in enumerate(layer.blobs)
    }
    assert model.name == "tiny"
    for layer, tensors in net.params.items():
        for index, blob in enumerate(tensors):
            np.testing.assert_array_equal(found[f"{layer}/{index}"].array(), blob.detach().numpy())
    assert {layer.type for layer in model.layers} >= {"ImageSegData", "ReLU", "Split", "SegAccuracy"}


def test_a_caffemodel_can_be_converted_again(convert, material, tmp_path):
    first = convert(".caffemodel")
    second = tmp_path / "second.caffemodel"
    rlossctl.convert(material.test, first, second, placeholders=material.settings)
    assert first.read_bytes() == second.read_bytes()


def test_the_suffix_decides_whatever_its_case(convert):
    assert torch.load(convert(".PT"), weights_only=True)["shared"] == SHARED


def test_unknown_suffix(convert):
    with pytest.raises(UsageError, match="unknown format") as caught:
        convert(".tflite")
    assert "suffix .tflite" in caught.value.found and ".onnx" in caught.value.expected
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"\(none\)"):
        convert("")


def test_weights_without_a_common_layer(material, tmp_path):
    prototxt = tmp_path / "other.prototxt"
    prototxt.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
        'layer { name: "other" type: "Convolution" bottom: "data" top: "other" '
        "convolution_param { num_output: 2 kernel_size: 1 } }\n"
    )
    with pytest.raises(WeightsError, match="no layer in common") as caught:
        rlossctl.convert(prototxt, material.weights, tmp_path / "out.pt")
    assert "conv1" in caught.value.found and caught.value.expected == "layers such as other"
    assert not (tmp_path / "out.pt").exists()


def test_layers_on_one_side_only_are_noted(material, tmp_path):
    out = tmp_path / "out.pt"
    settings = {**material.settings, "EXP": "other"}
    verification = rlossctl.convert(
        material.test, material.weights, out, placeholders=settings, allow_missing=True
    )
    notes = " ".join(verification.notes)
    assert "that the net lacks: fc8_toy" in notes and "keep their fillers: fc8_other" in notes
    assert verification.lines()[2:] == list(verification.notes)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".caffemodel", ".caffemodel.h5", ".pt"])
def test_layers_without_weights_are_refused(material, tmp_path, suffix):
    settings = {**material.settings, "EXP": "other"}
    with pytest.raises(WeightsError, match="lacks the weights of 1 layer") as caught:
        rlossctl.convert(material.test, material.weights, tmp_path / f"out{suffix}", placeholders=settings)
    assert "nothing for fc8_other (as fc8_toy?)" in caught.value.found
    assert "--allow-missing" in caught.value.advice
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".pt"])
def test_what_was_written_remembers_layers_without_weights(material, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    settings = {**material.settings, "EXP": "other"}
    verification = rlossctl.convert(
        material.test, material.weights, out, placeholders=settings, allow_missing=True
    )
    assert any("warning: layers without weights" in note for note in verification.notes)
    if suffix == ".onnx":
        card = json.loads({one.key: one.value for one in onnx.load(out).metadata_props}["rlossctl"])
        assert card["untrained"] == ["fc8_other"]
    else:
        assert json.loads(load_weights(out).metadata["untrained"]) == ["fc8_other"]


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".caffemodel", ".caffemodel.h5", ".pt"])
def test_weights_that_are_not_finite_are_named(material, tmp_path, suffix):
    net = load_inference_net(NetOrigin(material.test, material.weights, material.settings))
    net.copy_from(material.weights)
    with torch.no_grad():
        net.params["fc8_toy"][0][1, 2, 0, 0] = float("nan")
        net.params["fc8_toy"][0][3, 0, 0, 0] = float("inf")
        net.params["twin_b"][1][4] = float("-inf")
    broken, out = tmp_path / "broken.caffemodel", tmp_path / f"out{suffix}"
    write_caffemodel(broken, net.name, layer_records(net))
    with pytest.raises(WeightsError, match="not finite") as caught:
        rlossctl.convert(material.test, broken, out, placeholders=material.settings)
    assert caught.value.found == (
        "layer 'twin_a' blob 1: 1 of 6 values (-inf first, at [4]); "
        "layer 'fc8_toy' blob 0: 2 of 48 values (NaN first, at [1, 2, 0, 0])"
    )
    assert not out.exists()


def test_wrong_shapes(convert, material):
    with pytest.raises(WeightsError, match="do not fit") as caught:
        convert(".pt", placeholders={**material.settings, "NUM_LABELS": 5})
    assert "'fc8_toy' blob 0: 4x12x1x1 in the file, 5x12x1x1 in the net" in caught.value.found


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".caffemodel", ".pt"])
def test_a_folder_that_is_no_folder_cannot_be_written(material, tmp_path, suffix):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / f"out{suffix}"
    with pytest.raises(RlossError, match="cannot be written") as caught:
        rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
    assert caught.value.advice


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(convert, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RlossError, match="cannot be written"):
            convert(".safetensors")
    finally:
        tmp_path.chmod(0o700)


def test_a_checkpoint_that_differs_in_one_value_fails_and_leaves_nothing(convert, tmp_path, monkeypatch):
    honest = flat_names.owned_blobs

    def dishonest(net):
        monkeypatch.setattr(flat_names, "owned_blobs", honest)
        tensors = {name: tensor.clone() for name, tensor in honest(net).items()}
        tensors["conv1/0"].view(-1)[0] += 1e-3
        return tensors

    monkeypatch.setattr(flat_names, "owned_blobs", dishonest)
    with pytest.raises(VerificationError, match="conv1/0"):
        convert(".pt")
    assert list(tmp_path.iterdir()) == []


def test_a_caffemodel_that_differs_in_one_value_fails_and_leaves_nothing(convert, tmp_path, monkeypatch):
    honest = caffemodel.layer_records

    def dishonest(net):
        for record in honest(net):
            changed = [array + np.float32(1e-3) for array in record.arrays]
            yield record._replace(arrays=changed)

    monkeypatch.setattr(caffemodel, "layer_records", dishonest)
    with pytest.raises(VerificationError, match="conv1/0"):
        convert(".caffemodel")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_layers_without_weights_are_remembered_from_file_to_file(material, tmp_path, suffix):
    settings = {**material.settings, "EXP": "other"}
    first, second = tmp_path / f"first{suffix}", tmp_path / "second.safetensors"
    rlossctl.convert(material.test, material.weights, first, placeholders=settings, allow_missing=True)
    verification = rlossctl.convert(material.test, first, second, placeholders=settings)
    assert any("warning" in note and "fc8_other" in note for note in verification.notes)
    assert json.loads(load_weights(second).metadata["untrained"]) == ["fc8_other"]
