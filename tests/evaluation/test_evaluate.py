"""One pass over a list with ONNX Runtime, and what goes wrong in one."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError, NetError, UsageError
from rlossctl.evaluation import OnnxRunner, evaluate, open_onnx
from rlossctl.evaluation.running.open_model import PreprocessOverrides, open_list


def run(model, folder, name="pairs.txt", **options):
    samples = open_list(folder / name, folder)
    return evaluate(OnnxRunner(model, "cpu"), samples, list_name=name, progress=False, **options)


@pytest.mark.parametrize("name", ["pairs.txt", "ids.txt"])
def test_matrix_is_the_pixel_by_pixel_count(tiny_model, voc_folder, expected_matrix, name):
    result = run(tiny_model, voc_folder, name)
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)
    assert result.images == 3
    assert result.class_names == ["blue", "green", "red"]
    assert "CPUExecutionProvider" in result.backend


def test_images_larger_than_the_crop_are_scored_whole(tiny_model, voc_folder, expected_matrix):
    small = Preprocess((100.0, 110.0, 120.0), crop=(35, 35))
    np.testing.assert_array_equal(
        run(tiny_model, voc_folder, preprocess=small).confusion.matrix, expected_matrix
    )


def test_the_mean_can_be_replaced(tiny_model, voc_folder, expected_matrix):
    base = OnnxRunner(tiny_model, "cpu").preprocess
    other = PreprocessOverrides(mean=(0.0, 200.0, 200.0)).apply(base)
    assert other.crop == (64, 64)
    changed = run(tiny_model, voc_folder, preprocess=other).confusion.matrix
    assert changed[:, 0].sum() > expected_matrix[:, 0].sum()


def test_coarse_scores_are_enlarged_to_the_padded_size(make_model, voc_folder, tmp_path):
    metadata = {"preprocess": {"mean_bgr": [0, 0, 0], "crop": [65, 65]}}
    model = make_model(tmp_path / "coarse.onnx", np.eye(3), metadata, stride=8)
    photo = np.zeros((40, 64, 3), np.uint8)
    photo[:, :, 0] = 100  # blue everywhere,
    photo[:, 33:, 2] = (
        250  # red in the right half: enlarged from 8-pixel steps, the border lies inside a step
    )
    Image.fromarray(photo[:, :, ::-1].copy()).save(voc_folder / "photo.png")
    Image.fromarray(np.zeros((40, 64), np.uint8)).save(voc_folder / "label.png")
    (voc_folder / "one.txt").write_text("photo.png label.png\n")
    picture = run(model, voc_folder, "one.txt", pictures=1).pictures[0]
    assert picture.prediction.shape == (40, 64)
    # From column 32 (blue 100, red 0) to column 40 (100, 250) the red score grows by 31.25 per column.
    assert picture.prediction[0].tolist() == [0] * 36 + [2] * 28


def test_missing_image_names_file_and_line(tiny_model, voc_folder):
    (voc_folder / "JPEGImages" / "2007_000001.png").unlink()
    with pytest.raises(DataError, match=r"2007_000001\.png.*pairs\.txt:2"):
        run(tiny_model, voc_folder)


def test_label_of_another_size_is_refused_with_both_sizes(tiny_model, voc_folder):
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(
        voc_folder / "SegmentationClassAug" / "2007_000002.png"
    )
    with pytest.raises(DataError, match="differ in size") as caught:
        run(tiny_model, voc_folder)
    assert "64x64" in str(caught.value)
    assert "20x10" in str(caught.value)
    assert "pairs.txt:3" in str(caught.value)


def test_ids_out_of_range_name_the_label(tiny_model, voc_folder):
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(
        voc_folder / "SegmentationClassAug" / "2007_000002.png"
    )
    with pytest.raises(DataError, match=r"2007_000002\.png"):
        run(tiny_model, voc_folder)


def test_one_column_list_is_refused(tiny_model, voc_folder):
    (voc_folder / "bad.txt").write_text("JPEGImages/2007_000000.png\n")
    with pytest.raises(DataError, match=r"bad\.txt:1.*one column"):
        run(tiny_model, voc_folder, "bad.txt")


def test_scores_that_are_no_numbers_are_refused(make_model, voc_folder, tmp_path):
    model = make_model(tmp_path / "nan.onnx", np.eye(3) * np.nan, {"preprocess": {"mean_bgr": [0, 0, 0]}})
    with pytest.raises(NetError, match="NaN"):
        run(model, voc_folder)


def test_a_model_without_metadata_needs_a_mean(make_model, voc_folder, tmp_path, expected_matrix):
    model = make_model(tmp_path / "bare.onnx", np.eye(3), None)
    with pytest.raises(NetError, match="--mean"):
        run(model, voc_folder)
    mean = PreprocessOverrides(mean=(100.0, 110.0, 120.0)).apply(None)
    result = run(model, voc_folder, preprocess=mean)
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)
    assert result.class_names == ["class 0", "class 1", "class 2"]


def test_class_names_must_be_as_many_as_classes(tiny_model, voc_folder):
    with pytest.raises(DataError, match="2 names"):
        run(tiny_model, voc_folder, class_names=["a", "b"])


def test_kept_pictures_are_the_worst_and_the_best_or_those_asked_for(tiny_model, voc_folder):
    plain = run(tiny_model, voc_folder, pictures=2)
    iou = np.nanmean(plain.counts.iou(), axis=1)
    assert [picture.index for picture in plain.pictures] == sorted([iou.argmin(), iou.argmax()])
    assert [picture.index for picture in run(tiny_model, voc_folder, pictures=[1]).pictures] == [1]
    assert len(run(tiny_model, voc_folder, pictures=9).pictures) == 3
    for picture in run(tiny_model, voc_folder, pictures=9).pictures:
        counted = picture.truth != 255
        hits = ((picture.truth == picture.prediction) & counted).sum()
        assert hits == plain.counts.hits[picture.index].sum(), "what is shown is what was counted"


def test_broken_and_foreign_models_are_refused(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(NetError, match="cannot load"):
        OnnxRunner(broken, "cpu")
    with pytest.raises(NetError, match="no such file"):
        OnnxRunner(tmp_path / "missing.onnx", "cpu")
    foreign = tmp_path / "foreign.onnx"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(foreign))
    with pytest.raises(NetError, match="segmentation net"):
        OnnxRunner(foreign, "cpu")


def test_damaged_metadata_is_refused(make_model, tmp_path):
    model = make_model(tmp_path / "m.onnx", np.eye(3), {"preprocess": {"no_such_field": 1}})
    with pytest.raises(DataError, match="preprocessing"):
        OnnxRunner(model, "cpu")
    loaded = onnx.load(str(model))
    loaded.metadata_props[0].value = "{"
    onnx.save(loaded, str(model))
    with pytest.raises(NetError, match="metadata"):
        OnnxRunner(model, "cpu")


def test_asking_for_cuda_without_getting_it_is_an_error(tiny_model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(NetError, match="does not use it"):
        OnnxRunner(tiny_model, "cuda")
    assert "no CUDA: " in OnnxRunner(tiny_model, "auto").backend


def test_the_provider_in_use_decides_not_the_one_asked_for(tiny_model, monkeypatch):
    """Sessions open without complaint when CUDA's libraries are missing; only the session knows."""

    def session(*args, providers, **options):
        return real(*args, providers=["CPUExecutionProvider"], **options)

    real = onnxruntime.InferenceSession
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(NetError, match="does not use it"):
        OnnxRunner(tiny_model, "cuda:0")
    assert "CPUExecutionProvider" in OnnxRunner(tiny_model, "auto").backend


@pytest.mark.parametrize("device", ["cuda:1", "tensorrt:1"])
def test_a_gpu_that_torch_does_not_reach(tiny_model, voc_folder, expected_matrix, monkeypatch, device):
    """The session claims a GPU (and computes on the CPU): scores are copied, and it is said."""
    asked = []

    class Claiming:
        def __init__(self, path, options, *, providers, **others) -> None:
            asked.append(providers)
            self.real = real(path, options, providers=["CPUExecutionProvider"], **others)

        def get_providers(self):
            return [provider[0] for provider in asked[-1][:-1]]

        def __getattr__(self, name):
            return getattr(self.real, name)

    real = onnxruntime.InferenceSession
    names = {"cuda:1": ["CUDAExecutionProvider"]}.get(
        device, ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Claiming)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # numbers 0 only
    runner = open_onnx(tiny_model, device)
    assert asked == [[*((name, {"device_id": 1}) for name in names), "CPUExecutionProvider"]]
    assert f"{names[0]}, scores copied to the CPU: PyTorch" in runner.backend
    result = evaluate(runner, open_list(voc_folder / "pairs.txt", voc_folder), progress=False)
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)


def test_a_size_that_the_net_does_not_take_is_explained(tmp_path, voc_folder):
    """Two branches that meet again only where sides are odd."""
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["half"], strides=[2, 2]),
        helper.make_node("Resize", ["half", "", "factors"], ["back"]),
        helper.make_node("Slice", ["back", "begin", "end", "axes"], ["odd"]),
        helper.make_node("Add", ["odd", "data"], ["scores"]),
    ]
    numbers = {
        "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "factors": np.array([1, 1, 2, 2], np.float32),
        "begin": np.array([0, 0]),
        "end": np.array([-1, -1]),
        "axes": np.array([2, 3]),
    }
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"])
        for name in ("data", "scores")
    ]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    card = {"preprocess": {"mean_bgr": [0, 0, 0], "stride": 2, "offset": 1}}
    helper.set_model_props(model, {"rlossctl": json.dumps(card)})
    onnx.save(model, str(tmp_path / "odd.onnx"))
    assert run(tmp_path / "odd.onnx", voc_folder).images == 3
    crop = Preprocess(crop=(64, 64), stride=2, offset=1)
    with pytest.raises(NetError, match=r"this net takes sides of 2 k \+ 1"):
        run(tmp_path / "odd.onnx", voc_folder, preprocess=crop)


def test_unknown_devices_are_refused(tiny_model):
    for name in ("gpu", "cuda:x", "cpu:1"):
        with pytest.raises(UsageError, match="unknown device"):
            OnnxRunner(tiny_model, name)
