"""Files with heads, preprocessing and other precisions: they answer what `rlossctl eval` predicts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from deployed import photo, session

import rlossctl
from rlossctl.cli import cli
from rlossctl.converters import OnnxOptions
from rlossctl.converters.onnx import saving
from rlossctl.data.lists import read_list
from rlossctl.data.modelcard import ModelCard
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation import Predictor, open_onnx
from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

pytestmark = pytest.mark.slow  # torch exports each net

SIZES = [(48, 64), (65, 65), (66, 65), (67, 40), (130, 101), (1, 1), (64, 200)]


@pytest.fixture(scope="module")
def made(material, tmp_path_factory):
    """made(name, **options): the file of the tiny net with these options, converted once."""
    folder, files = tmp_path_factory.mktemp("deployed"), {}

    def make(name: str, outputs: tuple[str, ...] = ("up",), **options: object):
        if name not in files:
            files[name] = folder / f"{name}.onnx"
            rlossctl.convert(
                material.test,
                material.weights,
                files[name],
                placeholders=material.settings,
                outputs=outputs,
                classes=["a", "b", "c", "d"],
                onnx_options=OnnxOptions(**options),
            )
        return files[name]

    return make


def card(path) -> ModelCard:
    props = onnx.load(path, load_external_data=False).metadata_props
    return ModelCard.from_json({entry.key: entry.value for entry in props}["rlossctl"])


# fc8 has half the net's resolution, so that the file has to enlarge it; up has all of it already.
@pytest.mark.parametrize("blob", ["up", "fc8_toy"])
@pytest.mark.parametrize("size", SIZES)
def test_label_maps_are_what_evaluation_predicts(made, blob, size):
    scores = Predictor(open_onnx(made(f"scores_{blob}", (blob,)), "cpu"))
    file = made(f"labels_{blob}", (blob,), preprocessing=True)
    bgr = photo(size)
    rgb = np.ascontiguousarray(bgr[None, :, :, ::-1])
    (labels,) = session(file).run(None, {"image": rgb})
    assert (labels.dtype, labels.shape) == (np.uint8, (1, *size))
    np.testing.assert_array_equal(labels[0], scores.predict(bgr).labels)
    np.testing.assert_array_equal(Predictor(open_onnx(file, "cpu")).predict(bgr).labels, labels[0])
    if min(size) > 30:
        assert len(np.unique(labels)) == 4


def test_photos_of_one_size_make_a_batch(made):
    file = made("labels_up", preprocessing=True)
    photos = np.stack([photo((40, 50)), photo((40, 50))[::-1]])
    together = session(file).run(None, {"image": photos})[0]
    apart = [session(file).run(None, {"image": one[None]})[0][0] for one in photos]
    np.testing.assert_array_equal(together, np.stack(apart))


def test_of_equal_scores_the_larger_id_wins(tmp_path):
    prototxt, weights, out = (tmp_path / name for name in ("n.prototxt", "w.caffemodel", "n.onnx"))
    prototxt.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        "convolution_param { num_output: 5 kernel_size: 1 } }\n"
    )
    net = rlossctl.load_net(prototxt)
    net.params["c"][1].data[:] = torch.tensor([1.0, 2.0, 0.0, 2.0, 1.0])
    write_caffemodel(weights, net.name, layer_records(net))
    rlossctl.convert(prototxt, weights, out, onnx_options=OnnxOptions(head="argmax"))
    (labels,) = session(out).run(None, {"data": np.zeros((2, 3, 8, 8), np.float32)})
    assert (labels == 3).all() and labels.shape == (2, 8, 8)


def test_the_file_says_what_it_is(made):
    found = card(made("labels_up", preprocessing=True))
    assert (found.input, found.output, found.head) == ("image", "labels", "argmax")
    assert found.preprocessing_inside and found.preprocess.mean_bgr == pytest.approx(
        (104.008, 116.669, 122.675)
    )
    assert found.classes == ["a", "b", "c", "d"] and found.palette[1] == [128, 0, 0]
    graph = onnx.load(made("labels_up")).graph
    (image,), (labels,) = graph.input, graph.output
    sizes = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", "photo_height", "photo_width", 3]
    assert [size.dim_param for size in labels.type.tensor_type.shape.dim] == sizes[:3]


def test_softmax_at_the_input_size(made):
    scores = session(made("scores_fc8_toy", ("fc8_toy",)))
    file = session(made("softmax", ("fc8_toy",), head="softmax", upsample=True))
    image = np.random.default_rng(0).standard_normal((2, 3, 33, 41)).astype(np.float32) * 60
    (found,) = file.run(None, {"data": image})
    assert found.shape == (2, 4, 33, 41)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    corners = scores.run(None, {"data": image})[0][:, :, ::16, ::20]
    exponents = np.exp(corners - corners.max(1, keepdims=True))
    np.testing.assert_allclose(
        found[:, :, ::32, ::40], exponents / exponents.sum(1, keepdims=True), atol=1e-5
    )


def test_heads_are_for_one_map_of_scores(material, tmp_path):
    with pytest.raises(UsageError, match="one map of scores"):
        rlossctl.convert(
            material.test,
            material.weights,
            tmp_path / "a.onnx",
            placeholders=material.settings,
            outputs=["up", "conv1"],
            onnx_options=OnnxOptions(head="argmax"),
        )
    with pytest.raises(UsageError, match="for ONNX files"):
        rlossctl.convert(
            material.test,
            material.weights,
            tmp_path / "a.pt",
            placeholders=material.settings,
            onnx_options=OnnxOptions(fold=True),
        )
    assert not list(tmp_path.iterdir())


def test_folding_leaves_no_batch_norm_and_the_same_labels(made):
    plain, folded = made("labels_up", preprocessing=True), made("folded", preprocessing=True, fold=True)
    kinds = [{node.op_type for node in onnx.load(path).graph.node} for path in (plain, folded)]
    assert "BatchNormalization" in kinds[0] and "BatchNormalization" not in kinds[1]
    assert card(folded).folded == 2
    image = photo((90, 70))[None]
    labels = [session(path).run(None, {"image": image})[0] for path in (plain, folded)]
    assert (labels[0] == labels[1]).mean() > 0.999


def test_more_than_one_file_can_hold_goes_beside_it(material, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "LARGEST", 1000)
    out = tmp_path / "large.onnx"
    verification = rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
    graph, data = sorted(path.name for path in tmp_path.iterdir())
    assert graph == "large.onnx" and re.fullmatch(r"large\.onnx\.[0-9a-f]{16}\.data", data)
    assert data in verification.notes[-1]
    result = CliRunner().invoke(
        cli,
        ["verify", f"{material.test},{material.weights}", str(out)]
        + [f"--set={name}={value}" for name, value in material.settings.items()],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output


# The two that are killed are forked, so that torch is imported once.
KILLED = """
import os, shutil, sys
import rlossctl
from rlossctl.converters import OnnxOptions
from rlossctl.converters.onnx import saving
saving.LARGEST = 1000
folder, *files = sys.argv[1:]
options = dict(placeholders={settings!r}, onnx_options=OnnxOptions(verify=False))
rename = os.replace
rlossctl.convert(files[0], files[1], folder + ".onnx", **options)

def replace(*names):
    global left
    if not left:
        os._exit(9)
    left -= 1
    rename(*names)

os.replace = replace
for left in (0, 1):
    child = os.fork()
    if not child:
        rlossctl.convert(*files, **options)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    shutil.copytree(folder, folder + str(left))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
def test_a_kill_between_the_renames_leaves_a_graph_with_its_own_weights(material, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "LARGEST", 1000)
    folder = tmp_path / "models"
    folder.mkdir()
    out = folder / "large.onnx"
    net = load_inference_net(NetOrigin(material.test, placeholders=material.settings))
    net.copy_from(material.weights)
    with torch.no_grad():
        for entry in net.learnable:
            entry.tensor.mul_(1.5)
    other = tmp_path / "other.caffemodel"
    write_caffemodel(other, net.name, layer_records(net))
    options = {"placeholders": material.settings, "onnx_options": OnnxOptions(verify=False)}
    answers = {}
    for name, weights in (("new", other), ("old", material.weights)):
        rlossctl.convert(material.test, weights, out, **options)
        answers[name] = score(out)
    assert len(list(folder.glob("large.onnx.*.data"))) == 1, "the data of the file before are removed"
    assert not np.allclose(answers["new"], answers["old"])
    program = KILLED.format(settings=material.settings)
    arguments = [folder, material.test, other, out]
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)
    for renames in (0, 1):  # the data have no name yet; only they have
        killed = tmp_path / f"models{renames}"
        assert len(list(killed.glob("large.onnx.*.data"))) == 1 + renames
        np.testing.assert_array_equal(score(killed / "large.onnx"), answers["old"])
    rlossctl.convert(material.test, other, out, **options)
    np.testing.assert_array_equal(score(out), answers["new"])
    assert len(list(folder.glob("large.onnx.*.data"))) == 1


def score(path) -> np.ndarray:
    image = np.random.default_rng(0).standard_normal((1, 3, 65, 65)).astype(np.float32)
    return session(path).run(None, {"data": image})[0]


def test_eval_scores_a_label_model_as_it_scores_the_scores(made, labelled, tmp_path):
    found = []
    for file in (made("scores_up"), made("labels_up", preprocessing=True)):
        out = tmp_path / f"{file.stem}.json"
        arguments = ["eval", str(file), "--data", str(labelled), "--root", str(tmp_path), "--json", str(out)]
        result = CliRunner().invoke(cli, [*arguments, "--device", "cpu"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        content = json.loads(out.read_text())
        found.append((content["miou"], content["classes"]))
    assert found[0] == found[1]


def test_half_precision_says_what_it_costs(material, labelled, tmp_path):
    out = tmp_path / "half.onnx"
    verification = rlossctl.convert(
        material.test,
        material.weights,
        out,
        placeholders=material.settings,
        onnx_options=OnnxOptions(
            precision="fp16", preprocessing=True, verify_images=str(labelled), root=str(tmp_path)
        ),
    )
    assert "mIoU" in verification.notes[-1] and "3 images with labels" in verification.notes[-1]
    weights = onnx.load(out).graph.initializer
    assert {entry.data_type for entry in weights if len(entry.dims) == 4} == {onnx.TensorProto.FLOAT16}
    assert session(out).run(None, {"image": photo((50, 40))[None]})[0].shape == (1, 50, 40)


def test_photos_larger_than_a_fixed_net_are_refused(labelled, tmp_path):
    prototxt, weights = tmp_path / "n.prototxt", tmp_path / "w.caffemodel"
    prototxt.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 64 }\n'
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p" top: "m" '
        "pooling_param { kernel_size: 2 stride: 2 } }\n"
        'layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" upsample_param { scale: 2 } }\n'
    )
    write_caffemodel(weights, "", layer_records(rlossctl.load_net(prototxt)))
    for options in (
        {"verify_images": str(labelled)},
        {"precision": "int8", "calibrate": str(labelled)},
    ):
        with pytest.raises(UsageError, match="larger than the net takes") as refused:
            more = OnnxOptions(mean=(0, 0, 0), root=str(tmp_path), **options)
            rlossctl.convert(prototxt, weights, tmp_path / "a.onnx", onnx_options=more)
        assert "70 x 60" in str(refused.value) and "at most 64 x 64" in str(refused.value)
    finished = OnnxOptions(mean=(0, 0, 0), preprocessing=True)
    rlossctl.convert(prototxt, weights, tmp_path / "a.onnx", onnx_options=finished)
    runner = open_onnx(tmp_path / "a.onnx", "cpu")
    assert runner.labels(np.zeros((1, 64, 50, 3), np.uint8)).shape == (1, 64, 50)
    with pytest.raises(NetError, match="larger than the model takes") as refused:
        runner.labels(np.zeros((1, 60, 70, 3), np.uint8))
    assert "70 x 60" in str(refused.value) and "at most 64 x 64" in str(refused.value)


def test_not_verified_is_said(material, tmp_path):
    verification = rlossctl.convert(
        material.test,
        material.weights,
        tmp_path / "a.onnx",
        placeholders=material.settings,
        onnx_options=OnnxOptions(verify=False),
    )
    assert "NOT verified: nothing was compared" in verification.lines()[1]


def test_damaged_cards_are_refused():
    with pytest.raises(NetError, match="metadata"):
        ModelCard.from_json('{"head": "soft"}', "m.onnx")
    with pytest.raises(NetError, match="metadata"):
        ModelCard.from_json("[]")
    with pytest.raises(NetError, match="metadata"):
        ModelCard.from_json('{"largest_photo": [3]}')
    assert ModelCard.from_json('{"later": 1}') == ModelCard()


def test_a_folder_to_publish(material, labelled, tmp_path):
    """README's front matter is YAML, and its mIoU is what eval prints."""
    yaml = pytest.importorskip("yaml")

    folder, out = tmp_path / "card", tmp_path / "net.onnx"
    options = OnnxOptions(verify_images=str(labelled), root=str(labelled.parent), card=folder)
    verification = rlossctl.convert(
        material.test, material.weights, out, placeholders=material.settings, onnx_options=options
    )
    assert verification.notes[-1].startswith(f"wrote {folder} for publishing (mIoU ")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "model.safetensors", "net.onnx", "preprocessing.json",
    ]  # fmt: skip
    assert (folder / "net.onnx").read_bytes() == out.read_bytes()
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    (entry,) = yaml.safe_load(front)["model-index"]
    (result,) = entry["results"]
    samples = read_list(str(labelled), str(labelled.parent))
    found = rlossctl.evaluate(open_onnx(out, "cpu"), samples)
    assert result["metrics"][0]["value"] == pytest.approx(100 * found.require_confusion().miou(), abs=0.005)
    assert result["dataset"]["name"] == "list" and "dialect" in text and "argmax" in text
    weights = tmp_path / "again.safetensors"
    shutil.copy(folder / "model.safetensors", weights)
    assert rlossctl.convert(weights, None, tmp_path / "again.onnx").comparisons
    with pytest.raises(UsageError, match="new or an empty folder"):
        rlossctl.convert(
            material.test, material.weights, out, placeholders=material.settings, onnx_options=options
        )
