"""Nets and solvers that come with rlossctl, by name: wherever a prototxt is read, and `rlossctl net`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

import rlossctl
from rlossctl import configs
from rlossctl.cli import cli
from rlossctl.errors import PrototxtError, RlossError, UsageError
from rlossctl.net.saved import layer_records
from rlossctl.prototxt import load_net_parameter, template
from rlossctl.prototxt.text import read_text
from rlossctl.weights import kinds, load_weights, write_caffemodel

DEMO = {"NUM_LABELS": 5}
EXPERIMENTS = ("deeplab_largeFOV/", "deeplab_msc_largeFOV/", "deeplab_vgg16/", "resnet-101/")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*words: object):
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="rlossctl")


def test_a_name_gives_the_text_that_is_kept_as_a_file(repository):
    name = "deeplab_largeFOV/trainwithdensecrfloss"
    kept = (repository / "configs" / f"{name}.prototxt").read_text()
    assert read_text(name).split("\n")[1:] == kept.split("\n")[1:]
    assert read_text(name) == read_text(Path(f"{name}.prototxt"))
    assert read_text(name).startswith("# deeplab_largeFOV of rlossctl, defined in configs/networks/")


def test_a_file_of_the_name_counts_first(tmp_path):
    (tmp_path / "demo").mkdir()
    assert "ImageSegData" in read_text("demo/train")
    (tmp_path / "demo/train").write_text('name: "mine"')
    assert read_text("demo/train") == 'name: "mine"'


@pytest.mark.parametrize(
    "asked, meant",
    [
        ("demo/tset", "demo/test"),
        ("configs/deeplabv3plus_resnet101/test.prototxt", "deeplabv3plus_resnet101/test?"),
        ("camvid", "camvid/train or camvid/trainwithdensecrfloss or camvid/test"),
        ("imagenet/resnet51", "imagenet/resnet50"),
        ("train.prototxt", "rlossctl net --list"),
    ],
)
def test_an_unknown_name_is_an_error_with_near_misses(asked, meant):
    with pytest.raises(PrototxtError, match="cannot be opened") as caught:
        load_net_parameter(asked, DEMO)
    assert meant in caught.value.advice


def test_a_name_is_a_prototxt_wherever_formats_are_told_apart():
    assert kinds.kind_of("imagenet/resnet18") == kinds.kind_of("demo/tset") == kinds.PROTOTXT
    assert kinds.by_name("imagenet/resnet18.caffemodel") == kinds.CAFFEMODEL
    assert kinds.by_name("vgg16_weights") is None


@pytest.mark.slow
def test_commands_take_names(tmp_path):
    weights = tmp_path / "w.caffemodel"
    net = rlossctl.load_net("demo/test", **DEMO)
    write_caffemodel(weights, net.name, layer_records(net))
    settings = ("--set", "NUM_LABELS=5")
    shown = run("inspect", "demo/test", *settings)
    assert shown.exit_code == 0 and "parameters" in shown.output
    solver = run("inspect", "demo/solver")
    assert solver.exit_code == 0 and "Adam" in solver.output
    differ = run("diff", "demo/train", "demo/trainwithdensecrfloss", *settings)
    assert differ.exit_code == 1 and "DenseCRFLoss" in differ.output
    converted = run("convert", "demo/test", weights, "-o", "net.safetensors", *settings)
    assert converted.exit_code == 0, converted.output
    origin = json.loads(load_weights(tmp_path / "net.safetensors").metadata["source"])["prototxt"]
    assert origin == {"name": "demo/test", "sha256": sha256(configs.text("demo/test").encode()).hexdigest()}
    same = run("verify", f"demo/test,{weights}", "net.safetensors", *settings)
    assert same.exit_code == 0, same.output
    evaluated = run("eval", "demo/tset", weights, *settings, "--data", "none.txt")
    assert evaluated.exit_code == 1 and "did you mean demo/test" in str(evaluated.exception)


def test_a_solver_finds_its_net_by_name(tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 40), (90, 80, 70)).save(tmp_path / "a.png")
    Image.new("L", (40, 40), 1).save(tmp_path / "label.png")
    (tmp_path / "train.txt").write_text("a.png label.png\n")
    words = ["--set", "NUM_LABELS=3", "--set", "CROP_SIZE=33", "--set", "BATCH_SIZE=1", "--set", "MAX_ITER=1"]
    done = run(
        "train", "--prototxt", "demo/solver", *words, "--val", "train.txt", "--out", "runs", "--device", "cpu"
    )
    assert done.exit_code == 0, done.output + str(done.exception)
    assert (tmp_path / "runs/train_iter_1.caffemodel").is_file()
    assert "train_net file: train.prototxt" in (tmp_path / "runs/train.log").read_text()


def test_the_list_has_every_network():
    lines = run("net", "--list").output.split("\n")
    assert [line.split()[0] for line in lines[2:] if line and not line.startswith("any:")] == list(
        configs.NETWORKS
    )
    (row,) = [line for line in lines if line.startswith("imagenet/resnet18 ")]
    assert re.split(r"\s{2,}", row)[1:4] == ["11.70 M", "1.81 G", "1000"]


def test_the_list_loads_no_torch():
    code = (
        "import sys\nfrom rlossctl.cli import main\nsys.argv = ['rlossctl', 'net', '--list']\nmain()\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["False"]


def test_a_network_shows_its_texts_and_placeholders():
    lines = run("net", "demo").output.split("\n")
    rows = {line.split()[0]: re.split(r"\s{2,}", line)[1:] for line in lines if re.match("[A-Z]", line)}
    assert rows["NUM_LABELS"] == ["(none)", "train, trainwithdensecrfloss, test"]
    assert rows["MAX_ITER"] == ["500 or 300", "solver, solverwithdensecrfloss"]
    assert run("net", "demo/solver").output == configs.text("demo/solver")


def test_a_network_is_written_out_for_editing(tmp_path):
    done = run("net", "deeplabv3plus_mobilenet", "-o", "mine")
    assert done.exit_code == 0 and done.output.count("written: mine") == 7
    assert (tmp_path / "mine/test.prototxt").read_text() == configs.text("deeplabv3plus_mobilenet/test")
    assert run("net", "deeplabv3plus_mobilenet", "-o", "mine").exit_code == 0, "what is the same stays"
    (tmp_path / "mine/test.prototxt").write_text("mine")
    (tmp_path / "mine/train.prototxt").unlink()
    again = run("net", "deeplabv3plus_mobilenet", "-o", "mine")
    assert isinstance(again.exception, RlossError) and "has other content" in str(again.exception)
    assert (
        not (tmp_path / "mine/train.prototxt").exists()
        and (tmp_path / "mine/test.prototxt").read_text() == "mine"
    )
    assert run("net", "imagenet/resnet18", "-o", "one").output == "written: one/resnet18.prototxt\n"


def test_arguments():
    wrong = run("net", "dem")
    assert isinstance(wrong.exception, UsageError) and "did you mean demo?" in str(wrong.exception)
    assert run("net").exit_code == 2 and run("net", "demo", "--list").exit_code == 2


@pytest.mark.slow
def test_all_but_the_classes_has_a_default():
    """In the experiments' nets EXP has none either: it decides whether a classifier is learnt anew."""
    labels = {"NUM_LABELS", "NUM_LABELS_16"}
    for name in configs.names():
        text = configs.text(name)
        without = set(template.names(text)) - set(template.defaults(text))
        assert without <= (labels | {"EXP"} if name.startswith(EXPERIMENTS) else labels), name


@lru_cache
def convolutions(name: str) -> set[tuple[str, int, int]]:
    net = load_net_parameter(name, {"NUM_LABELS": 21, "NUM_LABELS_16": 336, "EXP": "e"})
    return {
        (layer.name, layer.convolution_param.num_output, layer.convolution_param.kernel_size[0])
        for layer in net.layer
        if layer.type == "Convolution" and layer.convolution_param.kernel_size
    }


@pytest.mark.parametrize("name", [name for name in configs.NETWORKS if not name.startswith("imagenet/")])
def test_a_network_starts_from_the_classifiers_that_it_names(name):
    """And from no other: their convolutions are those of its backbone, but for MobileNet's last."""
    prefix = "encoder." if name.endswith("_smp") else "backbone."
    backbone = {layer for layer in convolutions(f"{name}/test") if layer[0].startswith(prefix)}
    fitting = set()
    for each in (name for name in configs.NETWORKS if name.startswith("imagenet/")):
        layers = {(prefix + layer, *sizes) for layer, *sizes in convolutions(each)}
        if backbone == {layer for layer in layers if not layer[0].startswith("backbone.features.18.")}:
            fitting.add(each.rpartition("/")[2])
    assert fitting == set(re.findall(r"torchvision's ((?:res|mobile)net\w+)", configs.NETWORKS[name].start))
