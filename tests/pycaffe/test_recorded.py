"""Every blob and every gradient that Caffe itself recorded, through a net that runs layer by layer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RLOSSCTL_SHARED", TESTS.parent.parent / "shared")) / "golden"
DIALECTS = {"layers": "rloss", "bvlc": "bvlc", "segnet": "segnet", "enet": "enet"}
TOLERANCE = 1e-5  # of the blob's largest magnitude, as in tests/layers/test_golden.py
# What the originals got wrong, and cases of several passes: tests/layers/test_golden.py replays those.
LEFT_OUT = ("accuracy_all_ignored", "bn_learn_constant_input", "bn_learn_offset100", "dense_")
KEPT = (
    "batchnorm_global", "contrastive", "conv_two_bottoms", "crop_off2", "deconv_group_bilinear",
    "elu_inplace",
    "eltwise_26_prod", "interp_zoom2", "lstm_cont", "pool_max_mask", "scale_two_bottoms", "seg_accuracy",
    "shared_params", "slice_axis2", "softmaxloss_valid", "unary_16_flatten", "unique_label", "vggish_block",
)  # fmt: skip


def single_pass(file: Path) -> bool:
    if file.stem.startswith(LEFT_OUT) or file.stem.endswith("3"):
        return False
    return not any(key.startswith("step") for key in np.load(file))


@pytest.fixture
def replay(caffe, build):
    """replay(file, dialect) gives the names of what differs from the recording."""
    from rlossctl.pycaffe.kept import KeptNet

    def one(file: Path, dialect: str) -> list[str]:
        case = np.load(file)
        built = build(str(case["prototxt"]), str(case["phase"]), file.stem, dialect=dialect)
        return compare(caffe.Net.of(KeptNet(built)), case)

    return one


def compare(net, case) -> list[str]:
    for key in case:
        kind, _, name = key.partition("/")
        if kind == "param":
            of(net, name).data.flat = case[key].flat
        elif kind == "bottom":
            net.blobs[name].reshape(*case[key].shape)
            net.blobs[name].data[...] = case[key]
    net.forward()
    found = {key: net.blobs[key.partition("/")[2]].data for key in case if key.startswith(("top/", "blob/"))}
    wrong = [key for key, values in found.items() if differs(values, case[key])]
    if any(key.startswith(("grad/", "gradblob/", "paramgrad/")) for key in case):
        for key in case:
            if key.startswith("topdiff/"):
                net.blobs[key.removeprefix("topdiff/")].diff[...] = case[key]
        net.backward()
        wrong += [key for key in case if key.startswith("paramgrad/") and differs_in(net, key, case)]
        for key in case:
            kind, _, name = key.partition("/")
            if kind in ("grad", "gradblob") and differs(net.blobs[name].diff, case[key]):
                wrong.append(key)
    return wrong


def of(net, name: str):
    layer, _, index = name.rpartition("/")
    return net.params[layer][int(index)]


def differs_in(net, key: str, case) -> bool:
    return differs(of(net, key.removeprefix("paramgrad/")).diff, case[key])


def differs(found: np.ndarray, expected: np.ndarray) -> bool:
    """Magnitudes below 1e-7 are sums that cancel: absolute there."""
    if not expected.size:
        return False
    scale = np.abs(expected).max()
    error = np.abs(found.reshape(expected.shape) - expected).max() / (scale if scale > 1e-7 else 1)
    return not error <= TOLERANCE


@pytest.mark.parametrize("name", KEPT)
def test_recorded_case(golden, replay, name) -> None:
    assert replay(golden / "layers" / f"{name}.npz", "auto") == []


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("folder", DIALECTS)
def test_every_shared_case(shared, replay, folder) -> None:
    files = [file for file in sorted((shared / "golden" / folder).glob("*.npz")) if single_pass(file)]
    wrong = {file.stem: names for file in files if (names := replay(file, DIALECTS[folder]))}
    assert len(files) > 20 and not wrong
