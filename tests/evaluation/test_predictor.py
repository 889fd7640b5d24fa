"""Protocols: what the model sees, and how its answers are put together."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation import Crf, OnnxRunner, Predictor, Protocol, Rule, evaluate, open_onnx
from rlossctl.evaluation.predicting import modes
from rlossctl.evaluation.predicting.best import best_class
from rlossctl.evaluation.predicting.modes import choose_mode
from rlossctl.evaluation.predicting.protocol import tile_starts
from rlossctl.evaluation.running.intake import ANY
from rlossctl.evaluation.running.open_model import open_list
from rlossctl.evaluation.scoring.results import to_json

MEAN = (100.0, 110.0, 120.0)


class Pointwise:
    """Scores are the channels over 20: what a pixel gets does not depend on where it lies."""

    backend, classes, num_classes = "pointwise", None, 3
    activated, losses, channels, intake = False, (), 3, ANY

    def __init__(self, crop=(24, 32)) -> None:
        self.preprocess = Preprocess(MEAN, crop=crop)
        self.shapes: list[tuple[int, ...]] = []

    def scores(self, batch: np.ndarray) -> np.ndarray:
        self.shapes.append(batch.shape)
        return batch / 20


@pytest.fixture
def photo() -> np.ndarray:
    """Larger than the crop, smooth enough to be resized."""
    y, x = np.mgrid[:50, :70]
    return np.stack([y * 5, x * 3, 255 - y * 2 - x], axis=2).astype(np.uint8)


def softmax(photo: np.ndarray) -> np.ndarray:
    scores = ((photo - np.array(MEAN)) / 20).transpose(2, 0, 1)
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(),
        Protocol(flip=True),
        Protocol("tiles"),
        Protocol("tiles", tile=(13, 11), overlap=0.0, batch=4),
        Protocol("tiles", tile=(64, 20), overlap=0.7, flip=True, batch=3),
    ],
)
def test_a_pointwise_model_gives_the_same_under_every_protocol(photo, protocol):
    got = Predictor(Pointwise(), protocol=protocol).probabilities(photo)
    assert got.shape == (3, 50, 70)
    np.testing.assert_allclose(got, softmax(photo), atol=2e-6)


def test_tiles_follow_the_models_rule_of_sizes(photo):
    runner = Pointwise()
    rule = Preprocess(MEAN, crop=(25, 33), stride=8, offset=1)
    predictor = Predictor(runner, rule, Protocol("tiles", tile=(18, 25)))
    np.testing.assert_allclose(predictor.probabilities(photo), softmax(photo), atol=2e-6)
    assert predictor.protocol.tile == (25, 25) and {shape[2:] for shape in runner.shapes} == {(25, 25)}


def test_tiles_have_one_size_and_go_in_batches(photo):
    runner = Pointwise()
    Predictor(runner, protocol=Protocol("tiles", batch=4)).probabilities(photo)
    count = len(tile_starts(50, 24, 1 / 3)) * len(tile_starts(70, 32, 1 / 3))
    assert {shape[1:] for shape in runner.shapes} == {(3, 24, 32)}
    assert [shape[0] for shape in runner.shapes] == [4] * (count // 4) + ([count % 4] if count % 4 else [])


@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.5, 0.9])
def test_tiles_cover_a_side_evenly_and_share_enough(overlap):
    for tile in (1, 7, 32):
        for length in range(1, 120):
            starts = tile_starts(length, tile, overlap)
            assert starts[0] == 0
            assert starts == sorted(set(starts))
            assert length <= tile or starts[-1] + tile == length
            steps = np.diff(starts)
            assert all(steps <= max(1, tile * (1 - overlap) + 1))


def test_scales_are_averaged_at_the_photos_own_pixels(photo):
    runner = Pointwise()
    got = Predictor(runner, protocol=Protocol(scales=(0.5, 1.0, 2.0))).probabilities(photo)
    assert [shape[2:] for shape in runner.shapes] == [(25, 35), (50, 70), (100, 140)]
    np.testing.assert_allclose(got, softmax(photo), atol=0.05)  # a smooth photo, up to its resizing
    inner = np.s_[:, 2:-2, 2:-2]
    shifted = np.roll(got, 1, axis=2)
    assert np.abs(got - softmax(photo))[inner].mean() < 0.3 * np.abs(shifted - softmax(photo))[inner].mean()


def test_temperature_and_activation(photo):
    runner = Pointwise()
    warm = Predictor(runner, protocol=Protocol(temperature=2.0)).probabilities(photo)
    squared = softmax(photo) ** 0.5
    np.testing.assert_allclose(warm, squared / squared.sum(axis=0), atol=1e-5)
    sigmoid = Predictor(runner, protocol=Protocol(activation="sigmoid")).probabilities(photo)
    scores = ((photo - np.array(MEAN)) / 20).transpose(2, 0, 1)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-scores)), atol=1e-6)
    with pytest.raises(Exception, match="not class probabilities"):
        Predictor(runner, None, Protocol(activation="none"), Rule("threshold")).predict(photo)


def test_probabilities_do_not_pass_through_another_softmax(photo):
    class Probabilities(Pointwise):
        def scores(self, batch: np.ndarray) -> np.ndarray:
            powers = np.exp(batch / 20)
            return powers / powers.sum(axis=1, keepdims=True)

    with pytest.raises(NetError, match="activation none"):
        Predictor(Probabilities()).probabilities(photo)
    got = Predictor(Probabilities(), protocol=Protocol(activation="none")).probabilities(photo)
    np.testing.assert_allclose(got, softmax(photo), atol=2e-6)


def test_caffes_protocol_pads_and_cuts_photo_and_label_alike(photo):
    predictor = Predictor(Pointwise((40, 90)), protocol=Protocol("caffe"))
    label = np.arange(50 * 70).reshape(50, 70).astype(np.uint8)
    shown, cut = predictor.shown(photo, label, 255)
    assert cut.shape == shown.shape[:2] == (40, 90)
    np.testing.assert_array_equal(cut[:, :70], label[5:45])
    np.testing.assert_array_equal(shown[:, :70], photo[5:45])
    assert (cut[:, 70:] == 255).all()
    labels = predictor.predict(photo).labels
    np.testing.assert_array_equal(labels[:, :70], best_class(softmax(photo))[5:45])


def recorded_crf(case) -> tuple[np.ndarray, np.ndarray, Crf]:
    """Softmax of a recorded layer's scores, its image (both without padding) and its parameters."""
    from rlossctl.prototxt import parse_net

    layers = parse_net(str(case["prototxt"])).param.layer
    param = next(layer for layer in layers if layer.type == "DenseCRF").dense_crf_param
    position = {"pos_w": param.pos_w[0], "pos_xy_std": param.pos_xy_std[0]} if param.pos_w else {"pos_w": 0}
    crf = Crf(
        param.max_iter,
        **position,
        bi_w=param.bi_w[0],
        bi_xy_std=param.bi_xy_std[0],
        bi_rgb_std=param.bi_rgb_std[0],
    )
    height, width = case["dim"].astype(int).ravel()
    scores, image = case["s"][0, :, :height, :width], case["data"][0, :, :height, :width]
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0), image.transpose(1, 2, 0), crf


@pytest.mark.parametrize("name", ["cropped_dim", "log_output"])
def test_the_crf_is_the_forks_layer(golden, name):
    from rlossctl.evaluation.predicting.crf import refine

    case = np.load(golden / "densecrf" / f"dense_crf_{name}.npz")
    got = refine(*recorded_crf(case))
    expected = case["y"][0, :, : got.shape[1], : got.shape[2]]
    np.testing.assert_allclose(got, np.exp(expected) if name == "log_output" else expected, atol=1e-4)


@pytest.mark.parametrize("name", ["10iter_pos_bi", "1iter"])
def test_the_crf_is_the_forks_layer_in_larger_recordings(shared, name):
    from rlossctl.evaluation.predicting.crf import refine

    case = np.load(shared / "golden" / "densecrf" / f"dense_crf_{name}.npz")
    np.testing.assert_allclose(refine(*recorded_crf(case)), case["y"][0], atol=1e-4)


def test_the_crf_smooths_noise_away(photo):
    noisy = photo.copy()
    noisy[20, 30] = (255, 0, 0)
    plain = Predictor(Pointwise()).probabilities(noisy)
    crf = Crf(pos_w=30, pos_xy_std=4, bi_w=0)
    refined = Predictor(Pointwise(), protocol=Protocol(crf=crf)).probabilities(noisy)
    assert best_class(plain)[20, 30] != best_class(plain)[20, 31]
    assert best_class(refined)[20, 30] == best_class(refined)[20, 31]


@pytest.mark.parametrize(
    "values",
    [
        {"name": "half"},
        {"overlap": 1.0},
        {"scales": ()},
        {"scales": (0.0,)},
        {"temperature": 0.0},
        {"tile": (8, 8)},
        {"name": "tiles", "tile": (0, 8)},
        {"name": "caffe", "flip": True},
        {"activation": "none", "temperature": 2.0},
    ],
)
def test_protocols_that_do_not_exist_are_refused(values):
    with pytest.raises(UsageError):
        Protocol(**values)


def test_crf_parameters_are_checked():
    with pytest.raises(UsageError, match="CRF"):
        Crf(bi_xy_std=0)


@pytest.mark.parametrize("name", ["tiles", "caffe"])
def test_protocols_that_need_a_size_say_so(name):
    with pytest.raises(UsageError, match="needs a size"):
        Predictor(Pointwise(crop=None), protocol=Protocol(name))


def test_another_number_of_scores_than_classes_is_refused(photo):
    runner = Pointwise()
    runner.channels = 4
    with pytest.raises(NetError, match="number of scores"):
        Predictor(runner).predict(photo)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"protocol": Protocol(batch=3)},
        {"protocol": Protocol("tiles", tile=(32, 32), flip=True)},
        {"rule": Rule("threshold", threshold=0.0, unassigned="void")},
    ],
)
def test_evaluations_agree_with_predictions(tiny_model, voc_folder, options):
    """The pipeline of `evaluate` and single calls of a Predictor count the same pixels."""
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    runner = OnnxRunner(tiny_model, "cpu")
    result = evaluate(runner, samples, progress=False, pictures=3, **options)
    predictor = Predictor(runner, **options)
    for picture in result.pictures:
        np.testing.assert_array_equal(predictor.predict(picture.photo).labels, picture.prediction)


@pytest.fixture
def label_model(tmp_path):
    """Photos in, uint8 NHWC, the brightest channel's id out: preprocessing and argmax inside."""
    nodes = [
        helper.make_node("Cast", ["photo"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["x"], ["ids"], axis=3, keepdims=0, select_last_index=1),
        helper.make_node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "labels",
        [helper.make_tensor_value_info("photo", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["n", "h", "w"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"rlossctl": '{"num_classes": 3, "classes": ["b", "g", "r"]}'})
    onnx.save(model, str(tmp_path / "labels.onnx"))
    return tmp_path / "labels.onnx"


def test_models_that_give_labels_are_evaluated(label_model, voc_folder):
    runner = open_onnx(label_model, "cpu")
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    result = evaluate(runner, samples, progress=False, pictures=3)
    for picture in result.pictures:
        np.testing.assert_array_equal(picture.prediction, best_class(picture.photo.transpose(2, 0, 1)))
    assert result.preprocess is None
    assert to_json(result)["preprocess"] is None


@pytest.mark.parametrize(
    "options",
    [
        {"rule": Rule("threshold")},
        {"rule": Rule("rankdice")},
        {"protocol": Protocol(flip=True)},
        {"protocol": Protocol(crf=Crf())},
        {"protocol": Protocol("tiles", tile=(9, 9))},
        {"preprocess": Preprocess()},
    ],
)
def test_models_that_give_labels_refuse_what_needs_scores(label_model, options):
    runner = open_onnx(label_model, "cpu")
    with pytest.raises(UsageError, match=r"only labels|prepares images itself"):
        Predictor(runner, **options)
    with pytest.raises(UsageError, match="only labels"):
        Predictor(runner).probabilities(np.zeros((4, 4, 3), np.uint8))


def test_each_model_gets_its_own_mode(tiny_model, label_model):
    """The mode is chosen when the predictor is made; both ways through scores give the same."""
    scores, labels = OnnxRunner(tiny_model, "cpu"), open_onnx(label_model, "cpu")
    chosen = {
        type(choose_mode(labels, None, Protocol(), Rule())),
        type(choose_mode(scores, None, Protocol(), Rule())),
        type(choose_mode(scores, None, Protocol(flip=True), Rule())),
        type(choose_mode(scores, None, Protocol(), Rule("threshold"))),
    }
    assert chosen == {modes.Labels, modes.Classes, modes.Probabilities}


def test_what_a_model_prepares_itself_is_not_known(label_model, tiny_model):
    with pytest.raises(UsageError, match="prepares images itself"):
        Predictor(open_onnx(label_model, "cpu")).require_preprocess()
    assert Predictor(OnnxRunner(tiny_model, "cpu")).require_preprocess().crop == (64, 64)
    with pytest.raises(UsageError, match="only labels"):
        Predictor(open_onnx(label_model, "cpu")).scores([])


def test_probabilities_of_scores_that_are_no_numbers_are_refused(photo):
    runner = Pointwise()
    runner.scores = lambda batch: np.full(batch.shape, np.nan, np.float32)
    with pytest.raises(NetError, match="NaN"):
        Predictor(runner).probabilities(photo)
