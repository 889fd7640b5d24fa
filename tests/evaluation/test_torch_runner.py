"""A prototxt with weights through PyTorch: the same numbers as the ONNX file of the same net."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.eval import command
from rlossctl.data.images import read_image
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError, NetError, UsageError, WeightsError
from rlossctl.evaluation import Predictor, evaluate
from rlossctl.evaluation.job import Job, run
from rlossctl.evaluation.predicting.best import best_class
from rlossctl.evaluation.predicting.upsample import upsample
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import ImageList, open_model
from rlossctl.net import load_net
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import LayerRecord, write_caffemodel

DATA = """
layer {{ name: "data" type: "ImageSegData" top: "data" top: "label" top: "data_dim"
  image_data_param {{ root_folder: "${{ROOT}}" source: "${{ROOT}}/pairs.txt"
    batch_size: 1 label_type: PIXEL }}
  transform_param {{ mean_value: 100 mean_value: 110 mean_value: 120 crop_size: 64 }}
  include {{ phase: {phase} }} }}
"""
NET = """
layer { name: "${EXP}_score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 3 kernel_size: 1 } }
"""
METRIC = """
layer { name: "accuracy" type: "SegAccuracy" bottom: "score" bottom: "label" top: "accuracy"
  seg_accuracy_param { ignore_label: 255 reset: false } include { phase: TEST } }
layer { name: "silence" type: "Silence" bottom: "data_dim" include { phase: TEST } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'


def open_net(prototxt, weights, folder, experiment="a", device="cpu"):
    settings = {"ROOT": folder, "EXP": experiment}
    return open_model(Named("", NetOrigin(str(prototxt), str(weights), settings)), device, ImageList())


@pytest.fixture
def prototxt(tmp_path):
    """A test net in the manner of the original ones."""
    path = tmp_path / "test.prototxt"
    path.write_text(DATA.format(phase="TEST") + NET + METRIC)
    return path


@pytest.fixture
def weights(tmp_path):
    """The identity for layer a_score: scores are the channels."""
    path = tmp_path / "net.caffemodel"
    kernel = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    name = b"a_score"
    message = b"\x0a" + bytes([len(name)]) + name + b"\x12\x0bConvolution"
    write_caffemodel(path, "net", [LayerRecord(message, [kernel, np.zeros(3, np.float32)])])
    return path


def test_list_root_and_preprocessing_come_from_the_data_layer(prototxt, weights, voc_folder, expected_matrix):
    opened = open_model(
        Named("", NetOrigin(str(prototxt), str(weights), {"ROOT": voc_folder, "EXP": "a"})),
        "cpu",
        ImageList(),
    )
    samples = opened.images.read()
    result = evaluate(opened.runner, samples, progress=False)
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)
    assert result.preprocess.mean_bgr == (100.0, 110.0, 120.0)
    assert result.preprocess.crop == (64, 64)
    assert result.backend.startswith(f"PyTorch {torch.__version__}, CPU")
    assert opened.notes == ()


@pytest.mark.parametrize("zoom", [1, 8])
def test_classes_taken_by_torch_are_those_of_the_scores(tmp_path, weights, voc_folder, zoom):
    """Enlarged and compared in torch, or in numpy: the same classes, ties and padding included."""
    path = tmp_path / "coarse.prototxt"
    stride = f"kernel_size: 1 stride: {zoom} }}"
    data = DATA.format(phase="TEST").replace("crop_size: 64", "crop_size: 65")
    path.write_text(data + NET.replace("kernel_size: 1 }", stride))
    opened = open_model(
        Named("", NetOrigin(str(path), str(weights), {"ROOT": voc_folder, "EXP": "a"})), "cpu", ImageList()
    )
    predictor = Predictor(opened.runner)
    for sample in opened.images.read():
        photo = read_image(sample.image)
        photo[:10] = (100, 110, 120)  # the mean: all scores are equal
        (view,) = predictor.prepare(photo)
        (scores,) = predictor.scores([view])
        enlarged = upsample(scores[None], view.pixels.shape[1:], keep=view.keep)[0]
        np.testing.assert_array_equal(predictor.predict(photo).labels, best_class(enlarged))


def test_a_size_that_the_net_does_not_take_is_explained(tmp_path, weights, voc_folder):
    """Halved and doubled, beside what stayed: the two meet where sides are even."""
    path = tmp_path / "even.prototxt"
    halved = NET.replace("kernel_size: 1 }", "kernel_size: 1 stride: 2 }")
    path.write_text(
        DATA.format(phase="TEST")
        + halved
        + """layer { name: "up" type: "Deconvolution" bottom: "score" top: "up" param { lr_mult: 0 }
        convolution_param { num_output: 3 kernel_size: 2 stride: 2 bias_term: false
          weight_filler { type: "bilinear" } } }
        layer { name: "sum" type: "Eltwise" bottom: "up" bottom: "data" top: "sum" }"""
    )
    opened = open_model(
        Named("", NetOrigin(str(path), str(weights), {"ROOT": voc_folder, "EXP": "a"})), "cpu", ImageList()
    )
    with pytest.raises(NetError, match=r"PyTorch failed on a batch(.|\n)*this net takes sides of 2 k \+ 0"):
        evaluate(
            opened.runner,
            opened.images.read(),
            preprocess=Preprocess(crop=(65, 65)),
            progress=False,
        )


def test_command_agrees_with_the_nets_own_accuracy_layer(prototxt, weights, voc_folder, tmp_path):
    """--metric caffe prints what the net's SegAccuracy layer gives after the last image."""
    settings = {"ROOT": str(voc_folder), "EXP": "a"}
    net = load_net(prototxt, weights, **settings)
    for _ in range(3):
        blobs = net.run().outputs
    target = tmp_path / "out.json"
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    arguments = [str(prototxt), str(weights), *sets, "--metric", "caffe", "--json", str(target)]
    result = CliRunner().invoke(command, [*arguments, "--device", "cpu"])
    assert result.exception is None, result.output
    content = json.loads(target.read_text())
    np.testing.assert_allclose(content["caffe"], blobs["accuracy"].ravel().numpy(), rtol=1e-6)


def test_one_net_in_two_forms_does_not_differ_from_itself(prototxt, weights, tiny_model, voc_folder):
    """An ONNX file and a prototxt with placeholders in one table, written to standard output."""
    arguments = [str(tiny_model), str(prototxt), str(weights), "--set", f"ROOT={voc_folder}",
                 "--set", "EXP=a",
                 "--data", str(voc_folder / "pairs.txt"), "--root", str(voc_folder), "--device", "cpu",
                 "--names", "onnx,torch", "--markdown", "-"]  # fmt: skip
    result = CliRunner().invoke(command, arguments)
    assert result.exception is None, result.output
    first, second = result.stdout.splitlines()[2:4]
    assert first.startswith("| onnx | ")
    assert second.startswith("| torch | ")
    assert second.endswith("| +0.00 (+0.00 to +0.00) |")


def test_a_training_net_needs_a_named_list(tmp_path, weights, voc_folder, expected_matrix):
    prototxt = tmp_path / "train.prototxt"
    prototxt.write_text(DATA.format(phase="TRAIN") + NET + LOSS)
    settings = {"ROOT": voc_folder, "EXP": "a"}
    with pytest.raises(UsageError, match="no list of images"):
        open_model(Named("", NetOrigin(str(prototxt), str(weights), settings)), "cpu", ImageList())
    named = str(voc_folder / "ids.txt")
    opened = open_model(
        Named("", NetOrigin(str(prototxt), str(weights), settings)), "cpu", ImageList(named, str(voc_folder))
    )
    result = evaluate(opened.runner, opened.images.read(), progress=False)
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)


def test_weights_of_another_experiment_are_refused(prototxt, weights, voc_folder):
    with pytest.raises(WeightsError, match="b_score"):
        open_model(
            Named("", NetOrigin(str(prototxt), str(weights), {"ROOT": voc_folder, "EXP": "b"})),
            "cpu",
            ImageList(),
        )


def test_layers_without_weights_are_named(tmp_path, weights, voc_folder):
    path = tmp_path / "longer.prototxt"
    extra = (
        NET.replace("${EXP}_score", "${EXP}_extra")
        .replace('"data"', '"score"')
        .replace('top: "score"', 'top: "extra"')
    )
    path.write_text(DATA.format(phase="TEST") + NET + extra)
    model = Named("", NetOrigin(str(path), str(weights), {"ROOT": voc_folder, "EXP": "a"}))
    with pytest.raises(WeightsError, match="lacks the weights of 1 layer") as caught:
        open_model(model, "cpu", ImageList())
    assert "nothing for a_extra" in caught.value.found and "a_score" not in caught.value.found
    opened = open_model(replace(model, origin=replace(model.origin, allow_missing=True)), "cpu", ImageList())
    assert "a_extra" in opened.warnings[0]
    assert "a_score" not in opened.warnings[0]


def test_a_layer_without_weights_that_the_scores_do_not_need(tmp_path, weights, voc_folder):
    """An auxiliary branch of a training net, which released weights often lack."""
    path = tmp_path / "branch.prototxt"
    branch = NET.replace("${EXP}_score", "${EXP}_branch").replace('top: "score"', 'top: "branch"')
    path.write_text(DATA.format(phase="TEST") + NET + METRIC + branch)
    model = Named("", NetOrigin(str(path), str(weights), {"ROOT": voc_folder, "EXP": "a"}))
    opened = open_model(model, "cpu", ImageList())
    assert opened.warnings == () and "do not lead to the scores: a_branch" in opened.notes[0]


def test_asking_for_cuda_without_getting_it_is_an_error(prototxt, weights, voc_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(NetError, match="PyTorch cannot use it"):
        open_model(
            Named("", NetOrigin(str(prototxt), str(weights), {"ROOT": voc_folder, "EXP": "a"})),
            "cuda",
            ImageList(),
        )
    with pytest.raises(UsageError, match="unknown device"):
        open_model(
            Named("", NetOrigin(str(prototxt), str(weights), {"ROOT": voc_folder, "EXP": "a"})),
            "gpu7",
            ImageList(),
        )


def test_a_net_of_segnets_is_evaluated_on_its_own_list(tmp_path, weights, voc_folder, expected_matrix):
    """DenseImageData names the list, and has no crop: the photos' own sizes."""
    path = tmp_path / "segnet.prototxt"
    path.write_text(
        """layer { name: "data" type: "DenseImageData" top: "data" top: "label"
        dense_image_data_param { root_folder: "${ROOT}" source: "${ROOT}/pairs.txt" batch_size: 1 }
        transform_param { mean_value: 100 mean_value: 110 mean_value: 120 } }"""
        + NET
        + LOSS
    )
    opened = open_model(
        Named("", NetOrigin(str(path), str(weights), {"ROOT": voc_folder, "EXP": "a"})), "cpu", ImageList()
    )
    result = evaluate(opened.runner, opened.images.read(), progress=False)
    assert np.array_equal(result.confusion.matrix, expected_matrix)


def test_photos_are_turned_where_the_data_layer_turns_them(prototxt, weights, voc_folder, expected_matrix):
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (voc_folder / "JPEGImages").iterdir():
        with Image.open(file) as photo:
            photo.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
    prototxt.write_text(prototxt.read_text().replace("label_type: PIXEL", "label_type: PIXEL upright: true"))
    model = Named("a", NetOrigin(str(prototxt), str(weights), {"ROOT": voc_folder, "EXP": "a"}))
    said: list[str] = []
    result = run(Job([model], device="cpu"), said.append).evaluations["a"]
    np.testing.assert_array_equal(result.require_confusion().matrix, expected_matrix)
    assert "photos turned upright, as EXIF says" in said[0] and result.warnings == ()
    with pytest.raises(DataError, match="differ in size"):
        run(Job([model], device="cpu", upright=False), said.append)
