"""Scores while training: SegmentationScores over the whole list, monitor, patience, snapshot_best."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli import cli
from rlossctl.errors import PrototxtError, RlossError
from rlossctl.evaluation.evaluate import evaluate
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import ImageList, open_model
from rlossctl.evaluation.scoring.results import classes, means
from rlossctl.net import load_net
from rlossctl.net.origin import NetOrigin
from rlossctl.solver import Solver
from rlossctl.solver.announcing import after
from rlossctl.solver.load import load_solver
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.scoring.whole_list import whole_photos
from rlossctl.solver.training import train

TEST_NET = """
name: "small"
layer {{ name: "data" type: "ImageSegData" top: "data" top: "label" top: "data_dim"
  image_data_param {{ source: "{list}" root_folder: "{root}" batch_size: 3 label_type: PIXEL }}
  transform_param {{ {crop} mean_value: 100 mean_value: 110 mean_value: 120 }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 stride: 2 }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "frozen" type: "Convolution" bottom: "conv1" top: "frozen"
  convolution_param {{ num_output: 4 kernel_size: 1 bias_term: false }} }}
layer {{ name: "fc8" type: "Convolution" bottom: "frozen" top: "fc8"
  convolution_param {{ num_output: 3 kernel_size: 1 }} }}
layer {{ name: "scores" type: "SegmentationScores" bottom: "fc8" bottom: "label"
  top: "mIoU" top: "accuracy" top: "recall" top: "fwIoU" top: "mDice" top: "IoU" {fields} }}
layer {{ name: "silence" type: "Silence" bottom: "data_dim" }}
"""
SHRINK = 'layer { name: "s" type: "Interp" bottom: "label" top: "small" interp_param { shrink_factor: 2 } }'
SIZES = [(11, 12), (11, 12), (9, 14), (17, 8), (17, 8), (17, 8), (17, 8), (5, 5)]


@pytest.fixture
def validating(folder: Path) -> Callable[..., None]:
    """Writes a test net over photos of several sizes, and a solver that tests with it every 2 iterations."""
    random = np.random.default_rng(5)
    lines = []
    for index, size in enumerate(SIZES):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"v{index}.png")
        Image.fromarray(random.choice(np.array([0, 1, 2, 255], np.uint8), size)).save(
            folder / f"w{index}.png"
        )
        lines.append(f"v{index}.png w{index}.png\n")
    (folder / "val.txt").write_text("".join(lines))
    net = (
        (folder / "net.prototxt")
        .read_text()
        .replace("kernel_size: 3 pad: 1", "kernel_size: 3 pad: 1 stride: 2")
    )
    net = net.replace('layer { name: "loss"', SHRINK + '\nlayer { name: "loss"')
    (folder / "net.prototxt").write_text(
        net.replace('bottom: "fc8" bottom: "label"', 'bottom: "fc8" bottom: "small"')
    )

    def write(more: str = "", crop: str = "crop_height: 13 crop_width: 12", fields: str = "") -> None:
        text = TEST_NET.format(list=folder / "val.txt", root=f"{folder}/", crop=crop, fields=fields)
        (folder / "test.prototxt").write_text(text)
        solver = (folder / "solver.prototxt").read_text()
        (folder / "solver.prototxt").write_text(f'{solver}test_net: "test.prototxt" test_interval: 2 {more}')

    return write


def scored(weights: str, **options):
    """What `rlossctl eval` computes."""
    opened = open_model(Named("a", NetOrigin("test.prototxt", weights)), "cpu", ImageList())
    return evaluate(opened.runner, opened.images.read(), progress=False, **options)


def run(out: str, **options):
    return train(
        SolverOrigin("solver.prototxt").read(), options=TrainOptions(out=out, device="cpu", **options)
    )


def records(out: str, kind: str) -> list[dict]:
    lines = map(json.loads, Path(out, "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("crop", ["crop_height: 13 crop_width: 12", "crop_size: 20", ""])
def test_a_test_gives_what_eval_gives_to_the_last_digit(validating, crop: str) -> None:
    validating("test_initialization: false", crop)
    run("a", max_iter=4)
    found = records("a", "test")[-1]
    expected = scored("a/small_iter_4.caffemodel")
    total = means(expected)
    log = Path("a/train.log").read_text()
    assert total.labels is not None
    assert found["iter"] == 4
    assert f": mIoU = {total.miou:g}\n" in log
    assert f"Test net IoU: {', '.join(f'{one.iou:g}' for one in classes(expected))}\n" in log
    assert found["outputs"] == {
        "mIoU": [total.miou],
        "accuracy": [total.labels.pixel_accuracy],
        "recall": [total.mean_accuracy],
        "fwIoU": [total.labels.frequency_weighted_iou],
        "mDice": [total.mdice],
        "IoU": [one.iou for one in classes(expected)],
    }


def test_a_fourth_top_says_what_is_no_padding(validating) -> None:
    validating(crop="crop_size: 20")
    text = Path("test.prototxt").read_text()
    Path("test.prototxt").write_text(text.replace('"data_dim"', '"data_dim" top: "valid"', 1))
    photos = whole_photos(load_net("test.prototxt"))
    assert photos is not None
    for batch in photos.batches(torch.device("cpu")):
        for valid, ((size,),) in zip(batch.blobs["valid"], batch.blobs["data_dim"], strict=True):
            height, width = size.int().tolist()
            assert valid.shape == (1, 20, 20) and valid.sum() == height * width
            assert valid[0, :height, :width].all()


def test_image_scope_and_classes_of_interest_are_evals_too(validating) -> None:
    validating(fields="segmentation_scores_param { scope: IMAGE class_of_interest: 0 class_of_interest: 2 }")
    run("a", max_iter=2)
    images = means(scored("a/small_iter_2.caffemodel", interest=[0, 2])).images
    outputs = records("a", "test")[-1]["outputs"]
    assert outputs["mIoU"] == [images.miou_images]
    assert outputs["mDice"] == [images.mdice_images]


def test_the_end_names_classes_that_the_last_test_did_not_find(validating) -> None:
    validating()
    solver = load_solver("solver.prototxt")
    with torch.no_grad():
        solver.net.params["fc8"][1].copy_(torch.tensor([9.0, 0.0, -9.0]))
    solver.test_all()
    (warning, *_) = after(solver, SolverOrigin("solver.prototxt").read(), TrainOptions())
    start, areas = "warning: classes that the last test hardly predicts", r"[12] \(0\.00%, true \d\d\.\d\d%\)"
    assert re.fullmatch(f"{start}, in shares of the pixels: {areas}, {areas}", warning)


def test_training_is_the_same_with_and_without_tests(validating) -> None:
    run("a", max_iter=4)
    validating()
    run("b", max_iter=4)
    weights = [Path(out, "small_iter_4.caffemodel").read_bytes() for out in "ab"]
    assert weights[0] == weights[1]


def test_whole_list_without_such_a_layer_counts_every_sample_once(validating, folder: Path) -> None:
    """Eight photos in batches of three: the mean over samples, not over batches."""
    validating("test_whole_list: true", "crop_size: 9")
    text = (folder / "test.prototxt").read_text()
    start = text.index('layer { name: "scores"')
    loss = (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "small" top: "loss" '
        "loss_param { ignore_label: 255 normalization: BATCH_SIZE } }"
    )
    silence = text[text.index('layer { name: "silence"') :]
    (folder / "test.prototxt").write_text(text[:start] + SHRINK + loss + silence)
    solver = load_solver("solver.prototxt")
    (found,) = solver.test_all()
    net = solver.test_nets[0]
    source = net.sources["data"]
    single = [
        net.run(dict(zip(source.tops, map(_tensor, source.batch(number, 1)), strict=True))).loss.item()
        for number in range(8)
    ]
    assert found["loss"][0] == pytest.approx(np.mean(single), rel=1e-6)
    assert solver.test_all() == [found]


def _tensor(array: np.ndarray):
    return torch.from_numpy(array)


def test_the_best_weights_are_kept_and_their_value_survives_a_resume(
    validating, folder: Path, monkeypatch
) -> None:
    validating('monitor: "max mIoU" snapshot_best: true')
    whole = run("a")
    tests = {one["iter"]: one["outputs"]["mIoU"][0] for one in records("a", "test")}
    best = records("a", "best")[-1]
    assert best["value"] == max(tests.values()) == tests[best["iter"]]
    assert whole.best == Path("a/small_best.caffemodel")
    assert scored(str(whole.best)).miou() == best["value"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Solver, "update", _killed_after(7))
        run("b")
    run("b", resume="auto")
    assert records("b", "best")[-1]["value"] == best["value"]
    assert Path("b/small_best.caffemodel").read_bytes() == Path("a/small_best.caffemodel").read_bytes()
    state = [json.loads(Path(out, "small_iter_10.resume.json").read_text())["best"] for out in "ab"]
    assert state[0] == state[1]


def test_patience_ends_a_run_with_a_snapshot_and_status_0(validating, folder: Path) -> None:
    validating('monitor: "min mIoU" patience: 2 base_lr: 0', "crop_size: 20")
    text = (folder / "solver.prototxt").read_text().replace("base_lr: 0.01", "")
    (folder / "solver.prototxt").write_text(text)
    trained = run("a")
    assert (trained.iter, trained.stopped, trained.exit_code) == (4, True, 0)
    assert trained.snapshot == Path("a/small_iter_4.solverstate")
    assert "2 tests without gain, as many as patience allows" in Path("a/train.log").read_text()
    assert run("a", resume="auto").iter == 4


def _killed_after(iteration: int):
    """An update that ends as if by a second Ctrl-C after so many."""
    original = Solver.update

    def update(self: Solver, fed):
        if self.iter == iteration:
            raise KeyboardInterrupt
        return original(self, fed)

    return update


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ('monitor: "max miou"', "IoU has 3 values|fwIoU, mDice, mIoU, recall"),
        ('monitor: "max IoU"', "IoU has 3 values"),
        ('monitor: "mIoU"', "max or min"),
        ("patience: 3", "patience without monitor"),
        ("snapshot_best: true", "snapshot_best without monitor"),
        ('monitor: "max mIoU" patience: -1', "patience: -1"),
    ],
)
def test_fields_that_cannot_be_meant(validating, fields: str, words: str) -> None:
    validating(fields)
    with pytest.raises(PrototxtError, match=words):
        load_solver("solver.prototxt")


def test_no_tests_at_the_command(validating) -> None:
    validating('monitor: "max mIoU" snapshot_best: true')
    trained = run("a", max_iter=2, test_interval=0)
    assert trained.best is None
    assert records("a", "test") == []


def test_a_validation_list_that_is_missing(validating, folder: Path) -> None:
    validating()
    (folder / "val.txt").unlink()
    with pytest.raises(RlossError, match=r"--val LIST.*--test-interval 0"):
        run("a")


def test_tensorboard_gets_the_scores_by_class_and_pictures(validating) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    validating("test_initialization: false", "")
    run("a", max_iter=2, tensorboard=True)
    events = EventAccumulator("a/tensorboard").Reload()
    outputs = records("a", "test")[-1]["outputs"]
    assert events.Scalars("test0/mIoU")[-1].value == np.float32(outputs["mIoU"][0])
    assert [events.Scalars(f"test0/IoU/{n}")[-1].value for n in range(3)] == list(np.float32(outputs["IoU"]))
    tags = events.Tags()["images"]
    assert [tag for tag in tags if tag.startswith("validation/")] == [
        f"validation/v{n}" for n in (0, 2, 5, 7)
    ]
    assert len([tag for tag in tags if tag.startswith("training/")]) == 4
    picture = events.Images("validation/v2")[-1]
    assert (picture.height, picture.width) == (9, 3 * 14 + 2 * 4)


@pytest.mark.slow
def test_the_commands_at_the_end_run(validating) -> None:
    validating('monitor: "max mIoU" snapshot_best: true')
    trained = run("a", max_iter=4)
    best, last, *following = trained.notes
    value = records("a", "best")[-1]["value"]
    assert best.startswith(f"best: mIoU {value:.6g} after ")
    assert last == "last: a/small_iter_4.caffemodel"
    commands = [shlex.split(line.removeprefix("next: ")) for line in following]
    assert [command[:2] for command in commands] == [["rlossctl", "eval"], ["rlossctl", "convert"]]
    for command in commands:
        done = CliRunner().invoke(cli, command[1:])
        assert done.exit_code == 0, done.output
    assert Path("a/small_best.onnx").is_file()
