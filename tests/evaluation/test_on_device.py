"""Scores, classes and counts that stay on a device: the same as through numpy. Here the device is "cpu"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from rlossctl.counts import VOID
from rlossctl.data.palette import save_label_png
from rlossctl.errors import DataError, NetError
from rlossctl.evaluation import OnnxRunner, Predictor, Protocol, evaluate
from rlossctl.evaluation.predicting.best import best_class
from rlossctl.evaluation.predicting.upsample import upsample
from rlossctl.evaluation.running import bound_runner, on_device
from rlossctl.evaluation.running.bound_runner import BoundRunner, on_gpu
from rlossctl.evaluation.running.named import Reading
from rlossctl.evaluation.running.open_model import open_list
from rlossctl.evaluation.running.sessions import Session
from rlossctl.evaluation.running.wiring import wire
from rlossctl.evaluation.scoring import device_counts
from rlossctl.evaluation.scoring.state import State
from rlossctl.evaluation.scoring.tally import Tally

CPU = torch.device("cpu")
NO_GPU = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers() or not torch.cuda.is_available(),
    reason="needs a CUDA device and onnxruntime-gpu",
)
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def bound(model, device="cpu") -> BoundRunner:
    """On a GPU with `cuda`; on the CPU by the same code."""
    return BoundRunner(Session(Path(model), device), torch.device(device))


def assert_same(found, expected):
    """Two evaluations counted the same, image by image."""
    np.testing.assert_array_equal(found.confusion.matrix, expected.confusion.matrix)
    assert found.confusion.ignored == expected.confusion.ignored
    np.testing.assert_array_equal(found.counts.to_array(), expected.counts.to_array())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_counts_are_those_of_numpy(make_model, voc_folder, tmp_path, monkeypatch, device, stride, limit):
    """Photos of several sizes, enlarged scores, tables that are full before the list ends, batches."""
    model = make_model(tmp_path / "m.onnx", np.eye(3), {"preprocess": {"mean_bgr": [90, 90, 90]}}, stride)
    monkeypatch.setattr(device_counts, "_MOST_COUNTS", limit * 4 * 256 * 4)
    lines = (voc_folder / "pairs.txt").read_text() * 3
    (voc_folder / "many.txt").write_text("\n".join(sorted(lines.split("\n"))))
    samples = open_list(voc_folder / "many.txt", voc_folder)
    expected = evaluate(OnnxRunner(model, "cpu"), samples, progress=False)
    protocol = Protocol(batch=2)
    assert_same(evaluate(bound(model, device), samples, protocol=protocol, progress=False), expected)
    # Boundaries are counted in numpy: label maps leave the device.
    bands = [evaluate(runner, samples, band=0.05, progress=False)
             for runner in (bound(model, device), OnnxRunner(model, "cpu"))]  # fmt: skip
    np.testing.assert_array_equal(bands[0].boundary.to_array(), bands[1].boundary.to_array())
    assert_same(bands[0], expected)


def test_ties_and_padding_are_those_of_numpy():
    scores = np.random.default_rng(3).integers(0, 3, (2, 7, 9, 11)).astype(np.float32)
    for size in ((9, 11), (33, 41)):
        labels = on_device.best_classes(torch.from_numpy(scores), size).numpy()
        expected = [best_class(upsample(part[None], size)[0]) for part in scores]
        assert (labels == np.stack(expected)).mean() > 0.999  # ties of enlarged scores are broken by rounding
    labels = on_device.best_classes(torch.from_numpy(scores), (9, 11)).numpy()
    np.testing.assert_array_equal(labels, np.stack([best_class(part) for part in scores]))


def test_buffers_serve_all_batches_of_one_size(tiny_model):
    runner = bound(tiny_model)
    rng = np.random.default_rng(5)
    before = {}
    for size in ((16, 24), (16, 24), (20, 8), (20, 8), (16, 24)):
        batch = rng.standard_normal((2, 3, *size)).astype(np.float32)
        np.testing.assert_array_equal(runner.best_classes(list(batch))[1], best_class(batch[1]))
        here = {size: (runner._bound.data_ptr(), runner._answer.data_ptr())}
        assert before.keys() != here.keys() or before == here
        before = here


def test_scores_are_the_callers_own(tiny_model):
    """Tiles and scales keep several answers at once."""
    runner = bound(tiny_model)
    first, second = (np.full((1, 3, 8, 8), value, np.float32) for value in (1, 2))
    answers = [runner.scores(first), runner.scores(second)]
    assert [float(answer.max()) for answer in answers] == [1.0, 2.0]


def test_probabilities_come_through_the_buffers(tiny_model, voc_folder):
    photo = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    protocol = Protocol("tiles", tile=(20, 20), flip=True, batch=2)
    found, expected = (Predictor(runner, protocol=protocol).probabilities(photo)
                       for runner in (bound(tiny_model), OnnxRunner(tiny_model, "cpu")))  # fmt: skip
    np.testing.assert_array_equal(found, expected)


def test_a_wrong_label_is_named_though_it_is_found_late(tiny_model, voc_folder):
    save_label_png(voc_folder / "SegmentationClassAug/2007_000001.png", np.full((33, 48), 7, np.uint8))
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    with pytest.raises(DataError, match=r"label ids out of range") as caught:
        evaluate(bound(tiny_model), samples, progress=False)
    assert str(caught.value.where).endswith("2007_000001.png")
    assert caught.value.found.startswith("7 (1584 of 1584 pixels)")


def test_scores_that_are_no_numbers_are_refused(make_model, voc_folder, tmp_path):
    model = make_model(tmp_path / "nan.onnx", np.eye(3) * np.nan, {"preprocess": {"mean_bgr": [0, 0, 0]}})
    runner = bound(model)
    with pytest.raises(NetError, match="NaN"):
        evaluate(runner, open_list(voc_folder / "pairs.txt", voc_folder), progress=False)
    with pytest.raises(NetError, match="NaN"):
        Predictor(runner).predict(np.zeros((8, 8, 3), np.uint8))


def test_a_model_of_another_number_of_classes_is_refused(make_model, tmp_path):
    metadata = {"preprocess": {"mean_bgr": [0, 0, 0]}, "num_classes": 5}
    runner = bound(make_model(tmp_path / "m.onnx", np.eye(3), metadata))
    with pytest.raises(NetError, match="number of scores differs"):
        Predictor(runner).predict(np.zeros((8, 8, 3), np.uint8))


def test_a_failing_session_is_told_and_can_be_called_again(tiny_model, monkeypatch):
    runner = bound(tiny_model)
    image = np.ones((3, 8, 8), np.float32)
    inner, calls = runner._session.session, []

    class Once:
        def run_with_iobinding(self, binding):
            calls.append(binding)
            if len(calls) == 1:
                raise RuntimeError("out of memory")
            inner.run_with_iobinding(binding)

    monkeypatch.setattr(runner._session, "session", Once())
    with pytest.raises(NetError, match=r"out of memory(.|\n)*try --device cpu"):
        runner.best_classes([image])
    assert runner.best_classes([image]).max() == 2


def test_counts_of_the_greatest_number_of_classes():
    truth = np.array([[0, 254, 255, 254]], np.uint8)
    tally = Tally(1, 255, 255)
    counts = device_counts.DeviceCounts(tally, CPU)
    counts.add(0, truth, torch.tensor([[254, 254, 3, 0]], dtype=torch.uint8))
    counts.flush()
    counts.flush()
    matrix = tally.confusion.matrix
    assert [matrix[0, 254], matrix[254, 254], matrix[254, 0], matrix.sum()] == [1, 1, 1, 3]
    assert tally.done.all()
    assert tally.confusion.ignored == 1
    counts.add(0, truth, torch.full((1, 4), VOID, dtype=torch.uint8))
    with pytest.raises(NetError, match="NaN"):
        counts.flush()


@pytest.mark.parametrize(("gpus", "kept"), [(0, False), (1, False), (2, True)])
def test_scores_stay_on_the_gpu_that_torch_reaches(tiny_model, monkeypatch, gpus, kept):
    model = Session(tiny_model, "cpu")
    model.gpu = 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(bound_runner, "BoundRunner", lambda model, device, wiring: device)
    runner = on_gpu(model, wire(model, Reading()))
    if kept:
        assert runner == torch.device("cuda", 1)
    else:
        assert "scores copied to the CPU: PyTorch" in runner.backend


def test_what_was_counted_before_an_interruption_is_kept(tiny_model, voc_folder, tmp_path, monkeypatch):
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    path, runner = tmp_path / "state", bound(tiny_model)
    seen, best = [], runner.best_classes

    def stopping(images):
        seen.append(len(images))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return best(images)

    monkeypatch.setattr(runner, "best_classes", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate(runner, samples, state=State(path, "m"), progress=False)
    found = evaluate(runner, samples, state=State(path, "m"), progress=False)
    assert seen == [1, 1, 1, 1], "two images counted, the third again"
    assert_same(found, evaluate(OnnxRunner(tiny_model, "cpu"), samples, progress=False))


def test_scores_on_a_device_have_a_mode_of_their_own(tiny_model):
    assert Predictor(bound(tiny_model)).on_device == CPU
    assert Predictor(bound(tiny_model), protocol=Protocol(flip=True)).on_device is None
    assert Predictor(OnnxRunner(tiny_model, "cpu")).on_device is None
