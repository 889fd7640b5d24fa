"""What a model says about its output and its training is used, and printed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

import rlossctl
from rlossctl.cli.eval import command
from rlossctl.cli.predict import command as predict_command
from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.errors import UsageError
from rlossctl.evaluation import OnnxRunner, Predictor, Protocol, Rule, evaluate, open_onnx
from rlossctl.evaluation.predicting.outputs import Outputs
from rlossctl.evaluation.predicting.photos import Input
from rlossctl.evaluation.predicting.prediction_files import Sources, predict_photos
from rlossctl.evaluation.running.bound_runner import BoundRunner
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import ImageList, open_list, open_model
from rlossctl.evaluation.running.sessions import Session
from rlossctl.net.origin import NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

NET = """
layer {{ name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param {{ root_folder: "${{ROOT}}" source: "${{ROOT}}/pairs.txt" label_type: PIXEL }}
  transform_param {{ mean_value: 100 mean_value: 110 mean_value: 120 crop_size: 64 }} }}
layer {{ name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param {{ num_output: 3 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.02 }} }} }}
{tail}
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }'
SIGMOID = 'layer { name: "prob" type: "Sigmoid" bottom: "score" top: "prob" }'
METRIC = 'layer {{ name: "iou" type: "SegAccuracy" bottom: "{}" bottom: "label" top: "iou" }}'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
OTHER = 'layer { name: "other" type: "EuclideanLoss" bottom: "score" bottom: "data" top: "other" }'
MUTE = OTHER.replace('top: "other"', 'top: "other" loss_weight: 0')


@pytest.fixture
def make(tmp_path, voc_folder):
    """make(tail): a prototxt that ends so, and weights that are the same for all."""

    def write(tail: str):
        prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
        prototxt.write_text(NET.format(tail=tail))
        torch.manual_seed(4)
        net = rlossctl.load_net(prototxt, ROOT=str(voc_folder))
        if not weights.exists():
            write_caffemodel(weights, "net", layer_records(net))
        return prototxt, weights

    return write


def converted(files, folder, out) -> ModelCard:
    rlossctl.convert(*files, out, placeholders={"ROOT": str(folder)})
    (entry,) = onnx.load(out).metadata_props
    assert entry.key == KEY
    return ModelCard.from_json(entry.value)


@pytest.mark.slow
@pytest.mark.parametrize(("tail", "head"), [(SOFTMAX, "softmax"), (SIGMOID, "sigmoid")])
def test_probabilities_are_known_by_the_nets_last_layer(make, voc_folder, tmp_path, tail, head):
    """PyTorch and ONNX: RankDice without --activation none."""
    files, out = make(tail + METRIC.format("prob")), tmp_path / "net.onnx"
    assert converted(files, voc_folder, out).head == head
    settings = {"ROOT": str(voc_folder)}
    photo = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    for opened in (
        open_model(Named("", NetOrigin(*map(str, files), settings)), "cpu", ImageList()),
        open_model(Named("", NetOrigin(str(out))), "cpu"),
    ):
        assert opened.runner.activated
        predictor = Predictor(opened.runner, rule=Rule("rankdice"))
        assert predictor.protocol.activation == "none"
        views = predictor.prepare(photo)
        (direct,) = predictor.scores(views)
        np.testing.assert_array_equal(predictor.probabilities(photo), direct[:, :30, :40])
        assert predictor.predict(photo).labels.shape == (30, 40)
        with pytest.raises(UsageError, match="the model gives probabilities"):
            Predictor(opened.runner, protocol=Protocol(temperature=2.0))


@pytest.mark.slow
def test_scores_go_through_a_softmax(make, voc_folder, tmp_path):
    files, out = make(METRIC.format("score")), tmp_path / "net.onnx"
    found = converted(files, voc_folder, out)
    assert (found.head, found.losses) == ("scores", [])
    predictor = Predictor(open_onnx(out, "cpu"))
    assert predictor.protocol.activation == "softmax"
    assert (
        Predictor(open_onnx(out, "cpu"), protocol=Protocol(activation="sigmoid")).protocol.activation
        == "sigmoid"
    )


def test_the_choice_is_printed(make, voc_folder, tmp_path):
    files, out = make(SOFTMAX + METRIC.format("prob")), tmp_path / "net.onnx"
    converted(files, voc_folder, out)
    arguments = [
        str(out),
        "--data",
        str(voc_folder / "pairs.txt"),
        "--root",
        str(voc_folder),
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(command, [*arguments, "--rule", "rankdice"])
    assert result.exception is None, result.output
    assert "protocol whole images, scored at their own size; the model gives probabilities\n" in result.output


@pytest.mark.parametrize(
    ("tail", "rule", "warned"),
    [
        (LOSS + OTHER, "rankdice", True),
        (LOSS + OTHER, "argmax", False),
        (LOSS, "rankiou", False),
        (LOSS + MUTE, "rankiou", False),
        (METRIC.format("score"), "rankdice", False),
    ],
)
def test_a_rank_rule_warns_of_other_losses(make, voc_folder, tmp_path, tail, rule, warned):
    """In the prototxt, and in what it was converted to."""
    prototxt, weights = make(tail)
    out = tmp_path / "net.onnx"
    converted((prototxt, weights), voc_folder, out)
    listed = ["--data", str(voc_folder / "pairs.txt"), "--root", str(voc_folder), "--device", "cpu"]
    for model in ([str(out)], [str(prototxt), str(weights), "--set", f"ROOT={voc_folder}"]):
        result = CliRunner().invoke(command, [*model, *listed, "--rule", rule])
        assert result.exception is None, result.output
        assert (f"note     {rule} relies on the probabilities" in result.output) == warned
        assert ("EuclideanLoss (not strictly proper)" in result.output) == warned


@pytest.mark.parametrize("bound", [False, True])
def test_probabilities_and_classes_come_from_one_pass(tiny_model, voc_folder, tmp_path, bound):
    runner = (
        BoundRunner(Session(tiny_model, "cpu"), torch.device("cpu"))
        if bound
        else OnnxRunner(tiny_model, "cpu")
    )
    inner, calls = runner._session, []

    class Counting:
        def __getattr__(self, name):
            if name in ("run", "check_size"):  # one of them for each pass
                calls.append(name)
            return getattr(inner, name)

    runner._session = Counting()
    photos = sorted((voc_folder / "JPEGImages").iterdir())
    outputs = Outputs(tmp_path / "out", ("labels", "npz", "png16"))
    sources = Sources([Input(path, path.stem) for path in photos])
    summary = predict_photos(Predictor(runner), sources, outputs, progress=False)
    assert (summary.done, len(calls)) == (3, 3)
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    shown = evaluate(OnnxRunner(tiny_model, "cpu"), samples, pictures=9, progress=False).pictures
    plain = Predictor(OnnxRunner(tiny_model, "cpu"))
    for path, picture in zip(photos, shown, strict=True):
        decision, probabilities = Predictor(runner).predict_with_probabilities(picture.photo)
        np.testing.assert_array_equal(decision.labels, picture.prediction)
        np.testing.assert_array_equal(probabilities, plain.probabilities(picture.photo))
        with np.load(tmp_path / f"out/{path.stem}.npz") as archive:
            np.testing.assert_array_equal(archive["probabilities"], probabilities.astype(np.float16))


def test_predict_says_it_too(make, voc_folder, tmp_path):
    files, out = make(SOFTMAX + METRIC.format("prob")), tmp_path / "net.onnx"
    converted(files, voc_folder, out)
    arguments = [str(out), str(voc_folder / "JPEGImages"), "--out", str(tmp_path / "p"), "--device", "cpu"]
    result = CliRunner().invoke(predict_command, [*arguments, "--write", "npz"])
    assert result.exit_code == 0, result.output
    assert "the model gives probabilities" in result.output
