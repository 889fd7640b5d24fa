"""ONNX files from elsewhere: axes, types, sizes and outputs are found, or the error names the option."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from PIL import Image

from rlossctl.cli.eval import command
from rlossctl.cli.predict import command as predict_command
from rlossctl.data.preprocess import Preprocess, luma
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation import Predictor, Protocol, Rule, open_onnx
from rlossctl.evaluation.predicting.best import best_class
from rlossctl.evaluation.running.named import Reading
from rlossctl.evaluation.running.open_model import PreprocessOverrides
from rlossctl.evaluation.running.room import Room, TiledPhotos

F, H, B, I64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64
PLAIN = Preprocess()


def save(path: Path, nodes: list, inputs: dict, outputs: dict, constants: dict | None = None) -> Path:
    """A file of nodes (operator, inputs, outputs, attributes); the others are name -> (type, shape)."""
    graph = helper.make_graph(
        [helper.make_node(kind, top, bottom, **fields) for kind, top, bottom, fields in nodes],
        "g",
        [helper.make_tensor_value_info(name, *entry) for name, entry in inputs.items()],
        [helper.make_tensor_value_info(name, *entry) for name, entry in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (30, 44, 3), dtype=np.uint8)


def expected(photo: np.ndarray) -> np.ndarray:
    """The strongest channel: what every model here computes."""
    return best_class(photo.transpose(2, 0, 1).astype(np.float32))


NCHW, NHWC = ["n", 3, "h", "w"], ["n", "h", "w", 3]
SAME = [("Identity", ["x"], ["y"], {})]
FORMS = {
    "nchw": (SAME, (F, NCHW), (F, NCHW)),
    "nhwc": (SAME, (F, NHWC), (F, NHWC)),
    "nhwc to nchw": ([("Transpose", ["x"], ["y"], {"perm": [0, 3, 1, 2]})], (F, NHWC), (F, NCHW)),
    "all sizes open": (SAME, (F, ["n", "c", "h", "w"]), (F, ["n", "c", "h", "w"])),
    "half": (SAME, (H, NCHW), (H, NCHW)),
    "bytes": ([("Cast", ["x"], ["y"], {"to": F})], (B, NCHW), (F, NCHW)),
    "bytes nhwc": ([("Cast", ["x"], ["y"], {"to": F})], (B, NHWC), (F, NHWC)),
    "one image": (SAME, (F, [3, "h", "w"]), (F, [3, "h", "w"])),
    "batch of 4": (SAME, (F, [4, 3, "h", "w"]), (F, [4, 3, "h", "w"])),
    "16x24": (SAME, (F, [1, 3, 16, 24]), (F, [1, 3, 16, 24])),
    "48x64 nhwc": (SAME, (F, [1, 48, 64, 3]), (F, [1, 48, 64, 3])),
    "ids": ([("ArgMax", ["x"], ["y"], {"axis": 1, "keepdims": 0})], (F, NCHW), (I64, ["n", "h", "w"])),
    "ids n1hw": ([("ArgMax", ["x"], ["y"], {"axis": 1})], (F, NCHW), (I64, ["n", 1, "h", "w"])),
    "ids nhwc": ([("ArgMax", ["x"], ["y"], {"axis": -1, "keepdims": 0})], (F, NHWC), (I64, ["n", "h", "w"])),
    "ids as floats": (
        [("ArgMax", ["x"], ["i"], {"axis": 1}), ("Cast", ["i"], ["y"], {"to": F})],
        (F, NCHW),
        (F, ["n", 1, "h", "w"]),
    ),
    "ids hw": (
        [("ArgMax", ["x"], ["y"], {"axis": 0, "keepdims": 0})],
        (F, [3, "h", "w"]),
        (I64, ["h", "w"]),
    ),
    "ids 16x24": (
        [("ArgMax", ["x"], ["y"], {"axis": 1, "keepdims": 0})],
        (F, [1, 3, 16, 24]),
        (I64, [1, 16, 24]),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_predicts_the_same(tmp_path, photo, form):
    nodes, image, answer = FORMS[form]
    runner = open_onnx(save(tmp_path / "m.onnx", nodes, {"x": image}, {"y": answer}), "cpu")
    predictor = Predictor(runner, None if runner.intake.raw else PLAIN)
    labels = predictor.predict(photo).label_map
    assert runner.num_classes == 3
    # argmax inside gives the first of equal channels, this package the last
    top, second = np.sort(photo, axis=2)[:, :, ::-1].transpose(2, 0, 1)[:2]
    np.testing.assert_array_equal(labels[top > second], expected(photo)[top > second])


def binary(tmp_path: Path, *, last: str = "", bias: float = 0.0) -> Path:
    """One channel: blue minus green, then perhaps an activation."""
    weights = {"w": np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1), "b": np.array([bias], np.float32)}
    nodes = [("Conv", ["x", "w", "b"], ["z" if last else "y"], {})]
    nodes += [(last, ["z"], ["y"], {})] if last else []
    shape = ["n", 1, "h", "w"]
    return save(tmp_path / "b.onnx", nodes, {"x": (F, NCHW)}, {"y": (F, shape)}, weights)


@pytest.mark.parametrize("last", ["", "Sigmoid"])
def test_one_channel_is_two_classes(tmp_path, photo, last):
    runner = open_onnx(binary(tmp_path, last=last), "cpu")
    assert (runner.num_classes, runner.activated) == (2, bool(last))
    difference = photo[:, :, 0].astype(float) - photo[:, :, 1]
    probability = 1 / (1 + np.exp(-difference))
    predictor = Predictor(runner, PLAIN)
    np.testing.assert_array_equal(predictor.predict(photo).labels, difference >= 0)
    found = predictor.probabilities(photo)
    np.testing.assert_allclose(found, [1 - probability, probability], atol=1e-6)
    masks = Predictor(runner, PLAIN, rule=Rule("threshold", output="masks")).predict(photo).masks
    np.testing.assert_array_equal(masks[1], probability >= 0.5)


def test_probabilities_that_the_graph_does_not_show_are_noticed(tmp_path, photo):
    path = binary(tmp_path, last="HardSwish")  # any operator that tells nothing
    runner = open_onnx(path, "cpu")
    runner.scores = lambda batch: np.full((len(batch), 1, *batch.shape[2:]), 0.7, np.float32)
    with pytest.raises(NetError, match="--activation none"):
        Predictor(runner, PLAIN).predict(photo)
    labels = Predictor(runner, PLAIN, Protocol(activation="none")).predict(photo).labels
    assert (labels == 1).all()


def test_softmax_at_the_end_is_seen(tmp_path, photo):
    path = save(
        tmp_path / "s.onnx", [("Softmax", ["x"], ["y"], {"axis": 1})], {"x": (F, NCHW)}, {"y": (F, NCHW)}
    )
    predictor = Predictor(open_onnx(path, "cpu"), PLAIN)
    np.testing.assert_allclose(predictor.probabilities(photo).sum(axis=0), 1, atol=1e-5)
    assert predictor.protocol.activation == "none"


def two_outputs(tmp_path: Path) -> Path:
    nodes = [("Neg", ["x"], ["aux"], {}), ("Identity", ["x"], ["main"], {})]
    return save(tmp_path / "two.onnx", nodes, {"x": (F, NCHW)}, {"aux": (F, NCHW), "main": (F, NCHW)})


def test_one_of_several_outputs_is_chosen(tmp_path, photo):
    path = two_outputs(tmp_path)
    with pytest.raises(NetError, match=r"several outputs(.|\n)*--output NAME or its number: aux, main"):
        open_onnx(path, "cpu")
    for name in ("main", "1"):
        predictor = Predictor(open_onnx(path, "cpu", Reading(name)), PLAIN)
        np.testing.assert_array_equal(predictor.predict(photo).labels, expected(photo))
    with pytest.raises(UsageError, match=r"no output 'other'(.|\n)*--output aux or main"):
        open_onnx(path, "cpu", Reading("other"))


def test_the_only_map_among_outputs_is_taken(tmp_path, photo):
    nodes = [
        ("Identity", ["x"], ["y"], {}),
        ("GlobalAveragePool", ["x"], ["p"], {}),
        ("Flatten", ["p"], ["v"], {}),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (F, NCHW)}, {"v": (F, ["n", 3]), "y": (F, NCHW)})
    labels = Predictor(open_onnx(path, "cpu"), PLAIN).predict(photo).labels
    np.testing.assert_array_equal(labels, expected(photo))


def multiples(tmp_path: Path, factor: int) -> Path:
    """Space to depth and back, which only takes multiples of a number."""
    nodes = [
        ("SpaceToDepth", ["x"], ["d"], {"blocksize": factor}),
        ("DepthToSpace", ["d"], ["y"], {"blocksize": factor}),
    ]
    return save(tmp_path / "m.onnx", nodes, {"x": (F, NCHW)}, {"y": (F, NCHW)})


def test_multiples_are_found_or_given(tmp_path, photo):
    runner = open_onnx(multiples(tmp_path, 16), "cpu")
    assert runner.intake.multiple == 16 and "multiples of 16" in runner.intake.notes()[0]
    predictor = Predictor(runner, PLAIN)
    np.testing.assert_array_equal(predictor.predict(photo).labels, expected(photo))
    assert predictor.preprocess.stride == 16
    given = PreprocessOverrides((0, 0, 0), multiple=(32, 0)).apply(None)
    assert Predictor(runner, given).prepare(photo)[0].pixels.shape == (3, 32, 64)
    odd = open_onnx(multiples(tmp_path, 24), "cpu")  # not a power of two: 192 is the first that fits
    with pytest.raises(NetError, match=r"--multiple N(.|\n)*--resize H,W"):
        Predictor(odd, PLAIN).predict(photo)
    fitting = PreprocessOverrides((0, 0, 0), multiple=(24, 0)).apply(None)
    np.testing.assert_array_equal(Predictor(odd, fitting).predict(photo).labels, expected(photo))


def test_one_channel_is_fed_with_pillows_grey(tmp_path, photo):
    grey = np.asarray(Image.fromarray(photo[:, :, ::-1]).convert("L"))
    np.testing.assert_array_equal(luma(photo), grey)
    one = ["n", 1, "h", "w"]
    weights = {"w": np.array([1, -1], np.float32).reshape(2, 1, 1, 1), "b": np.array([0, 200], np.float32)}
    nodes = [("Conv", ["x", "w", "b"], ["y"], {})]
    path = save(tmp_path / "g.onnx", nodes, {"x": (F, one)}, {"y": (F, ["n", 2, "h", "w"])}, weights)
    labels = Predictor(open_onnx(path, "cpu"), PLAIN).predict(photo).labels
    np.testing.assert_array_equal(labels, grey <= 100)


def test_deviations_divide_each_channel(photo):
    prepared = PreprocessOverrides((1, 2, 3), 0.5, rgb=True, std=(2, 4, 8)).apply(None)
    image, _ = prepared.apply(photo)
    wanted = ((photo - np.array([1, 2, 3])) * 0.5 / np.array([2, 4, 8]))[:, :, ::-1].transpose(2, 0, 1)
    np.testing.assert_allclose(image, wanted, rtol=1e-6)
    np.testing.assert_allclose(prepared.apply_caffe(photo)[0], wanted, rtol=1e-6)
    assert Preprocess.from_json(prepared.to_json()) == prepared
    with pytest.raises(UsageError, match="from 0 to 1"):
        PreprocessOverrides((0.485, 0.456, 0.406)).apply(None)


def test_bytes_are_not_prepared(tmp_path, photo):
    nodes, image, answer = FORMS["bytes"]
    runner = open_onnx(save(tmp_path / "m.onnx", nodes, {"x": image}, {"y": answer}), "cpu")
    with pytest.raises(UsageError, match="leave out --mean"):
        Predictor(runner, Preprocess((1, 1, 1)))


def test_resized_photos_come_back_at_their_size(tmp_path):
    y, x = np.mgrid[:40, :60]
    photo = np.stack([y * 6, x * 4, 255 - x * 2 - y * 3], axis=2).astype(np.uint8)
    for form in ("nchw", "ids"):
        nodes, image, answer = FORMS[form]
        path = save(tmp_path / "m.onnx", nodes, {"x": image}, {"y": answer})
        predictor = Predictor(open_onnx(path, "cpu"), PLAIN, Protocol(resize=(20, 30)))
        assert predictor.prepare(photo)[0].pixels.shape == (3, 20, 30)
        labels = predictor.predict(photo).label_map
        assert labels.shape == (40, 60) and (labels == expected(photo)).mean() > 0.95


@pytest.mark.parametrize("form", ["nchw", "ids"])
def test_a_photo_that_does_not_fit_runs_in_tiles(tmp_path, photo, monkeypatch, form):
    """The graph tells what a pixel needs: 12 bytes for the photo, and as many for scores or 8 for ids."""
    monkeypatch.setattr("rlossctl.evaluation.running.room.SMALL", 0)
    monkeypatch.setattr("rlossctl.evaluation.running.room._STEP", 8)
    monkeypatch.setenv("RLOSSCTL_MAX_MEMORY", "20000")
    nodes, image, answer = FORMS[form]
    runner = open_onnx(save(tmp_path / "m.onnx", nodes, {"x": image}, {"y": answer}), "cpu")
    predictor = Predictor(runner, PLAIN)
    with pytest.warns(TiledPhotos, match="44 x 30 needs more memory"):
        views = predictor.prepare(photo)
    side = 16 if form == "nchw" else 24
    assert max(view.pixels.shape for view in views) == (3, side, side)
    assert all(view.top % 8 == view.left % 8 == 0 for view in views)
    labels = predictor.predict(photo).label_map
    distinct = np.ptp(photo, axis=2) > 0
    assert (labels == expected(photo))[distinct].mean() > 0.97  # ties


def test_tiles_within_a_memory_give_what_the_whole_photo_gives(tmp_path, monkeypatch):
    """A convolution of stride 2, another one, and twice the size: a pixel sees less than what tiles share."""
    monkeypatch.setattr("rlossctl.evaluation.running.room._STEP", 8)
    rng = np.random.default_rng(3)
    constants = {f"w{i}": rng.normal(size=(3, 3, 3, 3)).astype(np.float32) for i in range(2)}
    constants["twice"] = np.array([1, 1, 2, 2], np.float32)
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        ("Conv", ["x", "w0"], ["a"], {**pads, "strides": [2, 2]}),
        ("Conv", ["a", "w1"], ["b"], pads),
        ("Resize", ["b", "", "twice"], ["y"], {"mode": "nearest"}),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (F, NCHW)}, {"y": (F, NCHW)}, constants)
    photo = rng.integers(0, 256, (120, 200, 3), dtype=np.uint8)
    whole, tiled = (
        Predictor(open_onnx(path, "cpu"), PLAIN, Protocol(memory=memory)) for memory in (None, 120_000)
    )
    assert len(whole.prepare(photo)) == 1
    with pytest.warns(TiledPhotos, match="200 x 120"):
        assert len(tiled.prepare(photo)) > 3
    np.testing.assert_array_equal(tiled.predict(photo).label_map, whole.predict(photo).label_map)


def test_room_is_computed_once_and_unknown_room_is_enough():
    asked = []
    room = Room(lambda: asked.append(1) or 100.0, lambda: 10**9)
    with pytest.warns(TiledPhotos):
        assert [room.window(*size) for size in ((3000, 5000), (2000, 3000))] == [(2432, 2432), None]
    assert asked == [1]
    assert Room(lambda: None, lambda: 1).window(9000, 9000) is None
    assert Room(lambda: 1.0, lambda: None).window(9000, 9000) is None


def test_a_missing_weights_file_is_named(tmp_path):
    path = save(tmp_path / "m.onnx", [("Add", ["x", "w"], ["y"], {})], {"x": (F, NCHW)}, {"y": (F, NCHW)},
                {"w": np.ones((1, 3, 1, 1), np.float32)})  # fmt: skip
    model = onnx.load(path)
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(NetError, match=r"weights\.bin: no such file(.|\n)*beside it"):
        open_onnx(path, "cpu")


def test_ids_whose_number_of_classes_is_hidden(tmp_path, photo):
    nodes = [("ReduceMax", ["x"], ["m"], {"keepdims": 0}), ("Cast", ["x"], ["i"], {"to": I64})]
    nodes += [("Slice", ["i", "zero", "one", "axis"], ["y"], {})]
    constants = {"zero": np.array([0]), "one": np.array([1]), "axis": np.array([1])}
    path = save(tmp_path / "m.onnx", nodes, {"x": (F, NCHW)}, {"y": (I64, ["n", 1, "h", "w"])}, constants)
    with pytest.raises(NetError, match="--num-classes N"):
        open_onnx(path, "cpu")
    small = photo % 4
    labels = Predictor(open_onnx(path, "cpu", Reading(num_classes=4)), PLAIN).predict(small).labels
    np.testing.assert_array_equal(labels, small[:, :, 0])


def test_the_commands_take_the_options(tmp_path, voc_folder):
    path = str(two_outputs(tmp_path))
    listed = ["--data", str(voc_folder / "pairs.txt"), "--root", str(voc_folder), "--device", "cpu"]
    result = CliRunner().invoke(
        command, [path, *listed, "--mean", "0,0,0", "--output", "main", "--std", "2,2,2"]
    )
    assert result.exception is None, result.output
    assert "std 2, 2, 2 (B, G, R)" in result.output
    photos, out = str(voc_folder / "JPEGImages"), tmp_path / "out"
    palette = tmp_path / "colours.txt"
    palette.write_text("0 0 255 blue\n0 255 0 green\n255 0 0 red\n")
    look = ["--write", "labels,overlay", "--palette", str(palette), "--opacity", "1", "--legend"]
    arguments = [path, photos, "-o", str(out), "--mean", "0,0,0", "--output", "1", "--device", "cpu", *look]
    result = CliRunner().invoke(predict_command, arguments)
    assert result.exception is None, result.output
    name = "2007_000000"
    with Image.open(voc_folder / f"JPEGImages/{name}.png") as image:
        strongest = expected(np.asarray(image)[:, :, ::-1])
    with Image.open(out / f"{name}.png") as image:
        np.testing.assert_array_equal(np.asarray(image), strongest)
        assert image.getpalette()[:9] == [0, 0, 255, 0, 255, 0, 255, 0, 0]
    shown = np.asarray(Image.open(out / f"{name}_overlay.png"))
    assert shown.shape[0] > 40, "a legend below"
    colours = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)
    np.testing.assert_array_equal(shown[:40], colours[strongest])
