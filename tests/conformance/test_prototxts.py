"""Every prototxt of ours and of the original experiments builds in both phases, its shapes inferred.

A net that has its data layer in one phase only is built with that phase's layers, which then behave as in the
other phase, as `rlossctl convert` and `rlossctl eval` build a training net.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlossctl import configs
from rlossctl.errors import NetError
from rlossctl.net import build_net
from rlossctl.prototxt import load_net_file, load_solver_parameter
from rlossctl.prototxt.phase import filter_net, included, net_state
from rlossctl.prototxt.text import NetFile, is_solver, read_text

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("RLOSSCTL_SHARED", REPOSITORY.parent / "shared"))
PLACEHOLDERS = {
    "NET_ID": "net",
    "EXP": "voc",
    "DATA_ROOT": "data",
    "TRAIN_SET": "train",
    "TEST_SET": "val",
    "TRAIN_LIST": "train.txt",
    "TEST_LIST": "val.txt",
    "NUM_LABELS": 21,
    "NUM_LABELS_16": 336,
    "DENSECRF_LOSS_WEIGHT": 1e-8,
    "BI_XY_STD": 30,
    "BI_RGB_STD": 15,
}
SIZES = {"segnet": (3, 360, 480)}  # its nets name the sizes of their Upsample layers
# A list of all parameters for Caffe's test of the upgrade: its layers have no bottoms.
NO_NETS = "test_net_allparams"


def prototxts(folder: Path, solvers: bool) -> list[str]:
    files = [path for path in sorted(folder.rglob("*.prototxt")) if is_solver(read_text(path)) is solvers]
    return [str(path.relative_to(folder)) for path in files] or ["absent"]


def ours(solvers: bool) -> list[str]:
    return [name for name in configs.names() if name.rpartition("/")[2].startswith("solver") is solvers]


def check(path: Path) -> None:
    file = load_net_file(path, PLACEHOLDERS)
    for phase in ("TRAIN", "TEST"):
        check_phase(file, phase, SIZES.get(path.parent.name, (3, 321, 321)))


def check_phase(file: NetFile, phase: str, size: tuple[int, int, int]) -> None:
    other = {"TRAIN": "TEST", "TEST": "TRAIN"}[phase]
    data = [layer for layer in file.param.layer if not layer.bottom and layer.top]
    has_data = file.param.input or any(included(layer, net_state(phase)) for layer in data)
    filtered = filter_net(file, net_state(phase if has_data else other))
    net = build_net(filtered, device="meta", data={"image_shape": size}, phase=phase)
    assert net.phase == phase and len(net.layers) == len(filtered.param.layer)
    assert set(net.outputs) <= set(net.shapes) and all(
        min(shape, default=1) > 0 for shape in net.shapes.values()
    )


@pytest.mark.slow
@pytest.mark.smallest("name")
@pytest.mark.parametrize("name", ours(solvers=False))
def test_our_nets(name):
    check(Path(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", prototxts(SHARED / "prototxt", solvers=False))
def test_the_originals(shared, name):
    path = shared / "prototxt" / name
    if path.name.startswith(NO_NETS):
        with pytest.raises(NetError, match=r"layer 'accuracy'.*wrong number of bottom blobs"):
            check(path)
    else:
        check(path)


@pytest.mark.parametrize("name", ours(solvers=True))
def test_our_solvers(name):
    assert load_solver_parameter(name, PLACEHOLDERS).max_iter > 0


@pytest.mark.parametrize("name", prototxts(SHARED / "prototxt", solvers=True))
def test_the_original_solvers(shared, name):
    assert load_solver_parameter(shared / "prototxt" / name, PLACEHOLDERS).max_iter > 0
