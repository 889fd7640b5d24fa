"""The blocks of the guides and of the README run as they stand, on small files and with few updates."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pageshell import blocks, run_page

GUIDES = ("caffe", "scribbles", "score", "moving")
PAGES = ("README.md", "docs/start.md", "docs/faq.md", *(f"docs/guides/{name}.md" for name in GUIDES))
UPDATES = 2  # of every training
OLD = """name: "old"
input: "data" input_dim: 1 input_dim: 3 input_dim: 48 input_dim: 64
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" convolution_param {
    num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "score" type: CONVOLUTION bottom: "conv1" top: "score" convolution_param {
    num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
"""
SOLVER = """net: "old_train.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2 display: 1 type: "SGD"
snapshot_prefix: "old"
"""
DATA = """layer { name: "data" type: "ImageSegData" top: "data" top: "label" image_data_param {
    source: "val.txt" root_folder: "" batch_size: 1 label_type: PIXEL }
  transform_param { crop_size: 33 mean_value: 104 mean_value: 117 mean_value: 123 } }
"""
NET = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
    num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "score" type: "Convolution" bottom: "conv1" top: "score" convolution_param {
    num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"\n'
LOSS += "  loss_param { ignore_label: 255 } }\n"
SCRIPT = """import sys

import caffe

net = caffe.Net("old.prototxt", "old.caffemodel", caffe.TEST)
net.blobs["data"].data[...] = 0
print(sys.argv[1], net.forward()["score"].shape)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    import rlossctl
    from rlossctl.data.scenes.dataset import generate_dataset
    from rlossctl.net import load_net
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    here = tmp_path_factory.mktemp("made")
    for name, text in {
        "old.prototxt": OLD,
        "old_train.prototxt": DATA + NET + LOSS,
        "net.prototxt": DATA + NET,
        "solver.prototxt": SOLVER,
        "names.txt": "ground\nleaf\nfruit\n",
        "classify.py": SCRIPT,
        "config.json": '{"arch": {"type": "ENet"}, "train_loader": {"type": "VOC"}}',
    }.items():
        (here / name).write_text(text)
    old = load_net(here / "old.prototxt")
    for name in ("old", "net"):
        write_caffemodel(here / f"{name}.caffemodel", old.name, layer_records(old))
    write_photos(here)
    names = ["ground", "leaf", "fruit"]
    rlossctl.convert(here / "old.prototxt", here / "old.caffemodel", here / "other.onnx")
    rlossctl.convert(here / "net.prototxt", here / "net.caffemodel", here / "model.onnx", classes=names)
    for name in ("a", "b"):
        shutil.copyfile(here / "model.onnx", here / f"{name}.onnx")
    generate_dataset(here / "demo-out" / "data", train=4, val=2, size=(97, 129))
    demo = load_net("demo/test", NUM_LABELS=5)
    write_caffemodel(here / "demo.caffemodel", demo.name, layer_records(demo))
    (here / "demo-out" / "densecrf").mkdir()
    made = here / "demo-out" / "densecrf" / "model.onnx"
    rlossctl.convert("demo/test", here / "demo.caffemodel", made, placeholders={"NUM_LABELS": 5})
    return here


def write_photos(here: Path) -> None:
    """Four photos of three classes with masks and strokes, and the lists."""
    for folder in ("photos", "masks", "labels", "predictions"):
        (here / folder).mkdir()
    random = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"train": [], "val": [], "masks": []}
    for number, name in enumerate(("one", "two", "three", "four")):
        mask = np.zeros((48, 64), np.uint8)
        mask[8:30, 8:30], mask[20:44, 34:60] = 1, 2
        strokes = np.where(random.random(mask.shape) < 0.2, mask, 255).astype(np.uint8)
        photo = 80 * mask[..., None] + random.integers(0, 60, (48, 64, 3), np.uint8)
        for folder, picture in (("masks", mask), ("labels", strokes), ("predictions", mask)):
            cv2.imwrite(str(here / folder / f"{name}.png"), picture)
        cv2.imwrite(str(here / "photos" / f"{name}.jpg"), photo)
        lists["masks"].append(f"photos/{name}.jpg masks/{name}.png")
        lists["train" if number < 2 else "val"].append(
            f"photos/{name}.jpg {'labels' if number < 2 else 'masks'}/{name}.png"
        )
    for name, lines in lists.items():
        (here / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, made, repository, tmp_path, monkeypatch, invoke, process_put_back):
    here = tmp_path / "here"
    shutil.copytree(made, here)
    (here / "configs").symlink_to(repository / "configs")
    monkeypatch.chdir(here)
    monkeypatch.setenv("MAX_ITER", str(UPDATES))
    text = (repository / page).read_text(encoding="utf-8")
    if page == "README.md":  # its first block makes an environment, its Python names what it does not define
        text = text.partition("## The three commands")[2].partition("## In Python")[0]
    run_page(re.sub(r"_iter_\d+", f"_iter_{UPDATES}", text), here, invoke)


@pytest.mark.parametrize("page", PAGES[1:])
def test_every_shell_block_runs_or_says_why_not(page, repository):
    text = (repository / page).read_text(encoding="utf-8")
    shown = [each for each in blocks(text) if each.language in ("sh", "")]
    assert shown and all(each.language == "sh" for each in shown)
    markers = len(re.findall(re.escape("*Not run by the tests"), text))
    assert markers == sum(not each.run for each in shown), "a marker without a block"
