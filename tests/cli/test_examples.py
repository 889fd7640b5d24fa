"""The examples of the help texts run as they stand, on generated files and on the original prototxts.

Examples that cannot run here are listed with the reason; a new one either runs or joins that list.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from rlossctl.cli import COMMANDS, cli

# How an example starts -> why it does not run.
LEFT_OUT = {
    "annotate": "serves until Ctrl-C, see tests/annotating",
    "bench": "measures for minutes",
    "convert checkpoint.pth.tar": "needs another program's checkpoint",
    "convert old_net": "needs an old net, see tests/prototxt",
    "convert segnet_train": "needs a net with SegNet's BN, see test_fold_bn.py",
    "convert net.prototxt w.caffemodel -o int8": "needs minutes of calibration",
    "data clicks": "needs annotations, see tests/data/test_annotations.py",
    "data labels": "needs annotations, see tests/data/test_labelling.py",
    "data prepare": "needs a download, see tests/data/test_layout.py",
    "data scribbles": "needs annotations, see tests/data/test_annotations.py",
    "demo": "trains, see tests/test_demo.py",
    "doctor": "see test_doctor.py",
    "eval other.onnx --data val.txt --root CamVid --rgb --output 1": "needs two outputs, see test_cases.py",
    "eval --merge": "needs all parts, see tests/evaluation/test_parts.py",
    "fetch voc": "needs a network, see tests/data/test_fetch.py",
    "fetch camvid": "needs a network, see tests/data/test_fetch.py",
    "inspect checkpoint.pth.tar": "needs another program's checkpoint",
    "inspect segnet_train": "needs the original net, see test_inspect.py",
    "predict --merge": "needs all parts, see tests/evaluation/test_parts.py",
    "run": "needs scripts of Caffe's users, see tests/pycaffe",
    "test lenet": "needs the digits of the original",
    "train": "trains",
    "visualize loss photo.jpg photo.npz": "needs what predict wrote, see test_visualize.py",
    "visualize loss photo.jpg camvid.onnx": "needs a file of layers, see test_visualize.py",
    "verify net.prototxt,w.caffemodel net.prototxt,w.caffemodel": "needs OpenCV",
}
HEAD = """name: "${NET_ID}"
layer { name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param { root_folder: "${DATA_ROOT}" source: "${EXP}/list/${SET}.txt" batch_size: 1
    label_type: PIXEL }
  transform_param { crop_size: 49 mean_value: 104 mean_value: 117 mean_value: 123 } }
"""
BODY = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
    num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc8_${EXP}" type: "Convolution" bottom: "conv1" top: "fc8" convolution_param {
    num_output: ${NUM_LABELS} kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
"""
LOSS = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 } }
"""
CRF = """layer { name: "softmax" type: "Softmax" bottom: "fc8" top: "softmax" }
layer { name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "softmax" bottom: "label" top: "crf"
  loss_weight: ${DENSECRF_LOSS_WEIGHT}
  densecrf_loss_param { bi_xy_std: 100 bi_rgb_std: 15 } }
"""
ACCURACY = """layer { name: "accuracy" type: "SegAccuracy" bottom: "fc8" bottom: "label" top: "accuracy"
  seg_accuracy_param { ignore_label: 255 reset: false } }
"""


def examples() -> Iterator[str]:
    """Every command of every help text, continued lines joined."""
    for words in [(), *command_words()]:
        text = CliRunner().invoke(cli, [*words, "--help"], prog_name="rlossctl", terminal_width=200).output
        for line in re.sub(r"\\\n\s*", "", text.partition("Examples:")[2]).splitlines():
            if re.match(r"\s*(rlossctl|cat|find|torchrun)\b", line):
                yield line.strip()


def command_words() -> Iterator[tuple[str, ...]]:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        subcommands = command.commands if isinstance(command, click.Group) else {}
        yield from ((name, sub) for sub in subcommands)
        if not subcommands:
            yield (name,)


ALL = list(dict.fromkeys(examples()))


def reason_to_leave_out(example: str) -> str | None:
    if not example.startswith("rlossctl "):
        return "other programs take part"
    words = example.removeprefix("rlossctl ")
    return next((why for start, why in LEFT_OUT.items() if words.startswith(start)), None)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    import rlossctl
    from rlossctl.data.scenes.dataset import generate_dataset
    from rlossctl.net import load_net
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    here = tmp_path_factory.mktemp("examples")
    write_nets(here)
    generate_dataset(here / "VOC2012", train=2, val=2, size=(40, 49))
    write_data(here)
    write_runs(here)
    for seed, names in enumerate(
        (("train_iter_9000", "train_iter_1000", "w", "a"), ("train_iter_2000", "b"))
    ):
        net = load_net(here / "net.prototxt")
        net.params["conv1"][0].data.add_(0.01 * seed)
        for name in names:
            write_caffemodel(here / f"{name}.caffemodel", net.name, layer_records(net))
    weights = here / "w.caffemodel"
    rlossctl.convert(here / "net.prototxt", weights, here / "net.onnx", classes=None)
    for name in ("model", "pce", "crf", "other", "camvid", "fp32", "fp16", "fork"):
        shutil.copy(here / "net.onnx", here / f"{name}.onnx")
    for suffix in ("safetensors", "caffemodel"):
        rlossctl.convert(here / "net.prototxt", weights, here / f"model.{suffix}")
    return here


def write_nets(here: Path) -> None:
    """The prototxts, with the placeholders of the original experiments; net.prototxt has none."""
    train, test = (HEAD.replace("${SET}", f"${{{name}_SET}}") for name in ("TRAIN", "TEST"))
    (here / "train.prototxt").write_text(train + BODY + LOSS)
    (here / "trainwithdensecrfloss.prototxt").write_text(train + BODY + LOSS + CRF)
    (here / "test.prototxt").write_text(test + BODY + ACCURACY)
    values = {"NET_ID": "net", "EXP": "voc", "NUM_LABELS": "21", "DATA_ROOT": "VOC2012", "TEST_SET": "val"}
    text = test + BODY + ACCURACY
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    (here / "net.prototxt").write_text(text)
    (here / "solver.prototxt").write_text(
        'train_net: "${EXP}/train.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 10 type: "SGD"\n'
        'snapshot_prefix: "${EXP}/model/${NET_ID}/train"\n'
    )


def write_runs(here: Path) -> None:
    """Two folders of trainings, as far as `runs` reads them."""
    from rlossctl.solver.snapshots.manifest import Manifest, Settings

    for name in ("a", "b"):
        (here / "runs" / name).mkdir(parents=True)
        settings = Settings("max_iter: 10\n", seed=ord(name))
        manifest = Manifest(name, "2026-01-01", "rlossctl train", "train", settings, {}, {})
        manifest.write(here / "runs" / name / "run.json")


def write_data(here: Path) -> None:
    """Photos, lists and labels by the names that the examples use."""
    voc = here / "VOC2012"
    listed = (voc / "list" / "val.txt").read_text()
    (here / "voc" / "list").mkdir(parents=True)
    for place in ("val.txt", "train.txt", "train_scribble.txt", "voc/list/val.txt"):
        (here / place).write_text(listed)
    (voc / "SegmentationClass").symlink_to("SegmentationClassAug")
    (voc / "ImageSets" / "Segmentation" / "test.txt").write_text(
        (voc / "ImageSets" / "Segmentation" / "val.txt").read_text()
    )
    shutil.copytree(voc, here / "CamVid", symlinks=True)
    for name in ("train.txt", "val.txt"):
        (here / "CamVid" / name).write_text((voc / "list" / name).read_text())
    (here / "JPEGImages").mkdir()
    (here / "photos").mkdir()
    photos = sorted((voc / "JPEGImages").glob("*.jpg"))
    for target in ("photos/one.jpg", "JPEGImages/2007_000001.jpg", "photo.jpg", "photo1.jpg", "photo2.jpg"):
        shutil.copy(photos[0], here / target)
    shutil.copy(sorted((voc / "pascal_2012_scribble").glob("*.png"))[0], here / "scribble.png")
    scores = np.random.default_rng(0).standard_normal((21, 40, 49)).astype(np.float32)
    np.save(here / "probabilities.npy", np.exp(scores) / np.exp(scores).sum(0))
    (here / "config.json").write_text('{"arch": {"type": "ENet"}, "train_loader": {"type": "VOC"}}')
    write_clip(here / "clip.mp4", photos[0])


def write_clip(path: Path, photo: Path) -> None:
    """A video of six frames."""
    frame = cv2.imread(str(photo))[:40, :48]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 40))
    for _ in range(6):
        video.write(frame)
    video.release()


@pytest.mark.slow
@pytest.mark.parametrize("example", [each for each in ALL if not reason_to_leave_out(each)])
def test_an_example_runs_as_it_stands(example, files, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(files, here, symlinks=True)
    monkeypatch.chdir(here)
    result = CliRunner().invoke(cli, shlex.split(example)[1:])
    allowed = (0, 1) if example.startswith(("rlossctl diff", "rlossctl data verify")) else (0,)
    assert result.exit_code in allowed and (result.exception is None or result.exit_code), result
    assert isinstance(result.exception, SystemExit | None), result.exception


def test_reasons_belong_to_examples():
    left_out = [each.removeprefix("rlossctl ") for each in ALL]
    unused = [start for start in LEFT_OUT if not any(each.startswith(start) for each in left_out)]
    assert unused == []


@pytest.mark.slow
@pytest.mark.parametrize("net", ["deeplab_largeFOV", "deeplab_vgg16", "deeplab_msc_largeFOV", "resnet-101"])
@pytest.mark.parametrize(
    "example",
    [each for each in ALL if re.match("rlossctl (inspect|diff) (train|solver)[a-z]*.prototxt", each)],
)
def test_examples_on_the_original_files(example, net, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(shared / "prototxt" / "rloss" / net)
    result = CliRunner().invoke(cli, shlex.split(example)[1:])
    assert result.exit_code in (0, int("diff" in example)), result.exception
    assert "fc8_${EXP}" in result.output or "fc1_${EXP}" in result.output or "inspect train" not in example


@pytest.mark.slow
@pytest.mark.parametrize("given", [["--data"], ["--data", "--root"]])
def test_a_list_stands_in_for_the_placeholders_of_its_path(given, files, monkeypatch, tmp_path):
    """Without --root the folder is still missing, and that alone is said."""
    monkeypatch.chdir(files)
    options = {"--data": ("--data", "val.txt"), "--root": ("--root", "VOC2012")}
    model = ("test.prototxt", "w.caffemodel", "--set", "NUM_LABELS=21", "--set", "EXP=voc")
    words = [*model, *(word for name in given for word in options[name])]
    for command, extra in (("eval", ()), ("test", ("--iterations", "2"))):
        result = CliRunner().invoke(cli, [command, *words, *extra])
        if "--root" in given:
            assert result.exit_code == 0, result.exception
        else:
            assert "DATA_ROOT" in str(result.exception) and "EXP" not in str(result.exception)
            assert "TEST_SET" not in str(result.exception)


def test_training_stands_in_too(files, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    words = "train --prototxt train.prototxt --solver solver.prototxt --max-iter 1 --device cpu"
    command = [*words.split(), "--set", "NUM_LABELS=21", "--set", "EXP=voc", "--out", str(tmp_path / "run")]
    paths = ["--data", "train.txt", "--root", "VOC2012"]
    unnamed = CliRunner().invoke(cli, [*command, *paths])
    assert "NET_ID" in str(unnamed.exception) and "DATA_ROOT" not in str(unnamed.exception), "in the weights"
    done = CliRunner().invoke(cli, [*command, *paths, "--set", "NET_ID=net"])
    assert done.exit_code == 0, done.exception
    assert "metrics in" in done.output
