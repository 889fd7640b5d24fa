"""Models that people trained and published: read, run and written back as Caffe did.

What they should give was recorded by OpenCV's importer and by ENet's own fork (golden/models).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from rlossctl.net import load_net
from rlossctl.weights import (
    load_caffemodel,
    load_solverstate,
    write_caffemodel,
    write_caffemodel_h5,
    write_solverstate,
)

RELATIVE = 1e-4


class Model(NamedTuple):
    """A net and its weights in data/models; the recording in golden/models and its input's shape."""

    prototxt: str
    weights: str
    recording: str
    shape: tuple[int, ...]


CIFAR = "cifar10_quick/cifar10_quick"
ENET = "enet_cityscapes/"
MODELS = [
    Model("wechat_sr/sr.prototxt", "wechat_sr/sr.caffemodel", "wechat_sr", (1, 1, 60, 80)),
    Model("mtcnn_det1/det1.prototxt", "mtcnn_det1/det1.caffemodel", "det1", (1, 3, 120, 160)),
    Model("lenet_v1/lenet.prototxt", "lenet_v1/lenet_iter_10000", "lenet_v1", (1, 1, 28, 28)),
    Model("lenet/lenet.prototxt", "lenet/lenet_iter_10000.caffemodel", "lenet_ethereon", (1, 1, 28, 28)),
    Model(f"{CIFAR}.prototxt", f"{CIFAR}_iter_4000.caffemodel", "cifar10_quick_4000", (1, 3, 32, 32)),
    Model("resnet50_stem/test.prototxt", "resnet50_stem/test.caffemodel", "resnet50_stem", (1, 3, 100, 100)),
]
ENET_FINAL = Model(
    f"{ENET}enet_deploy_final.prototxt",
    f"{ENET}cityscapes_weights.caffemodel",
    "enet_cityscapes_rand",
    (1, 3, 512, 1024),
)
V1_WEIGHTS = "lenet_v1/lenet_iter_10000"
BINARY = [V1_WEIGHTS, *(model.weights for model in [*MODELS, ENET_FINAL] if model.weights != V1_WEIGHTS)]
BINARY.append(f"{ENET}cityscapes_weights_before_bn_merge.caffemodel")


@pytest.fixture
def models(shared) -> Path:
    return shared / "data/models"


def close(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Which values agree, in units of the blob's largest: a value near 0 is a difference of large ones."""
    assert found.shape == expected.shape
    return np.abs(found - expected) <= RELATIVE * np.abs(expected).max()


@torch.no_grad()
def check_outputs(models: Path, golden: Path, model: Model, dialect: str, step: int = 1) -> str:
    """Runs the model on its recorded input and compares every output; returns the dialect it had."""
    net = load_net(models / model.prototxt, models / model.weights, dialect=dialect)
    image = (np.random.RandomState(0).randn(*model.shape) * 0.5).astype(np.float32)
    outputs = net(**{net.inputs[0]: torch.from_numpy(image)})
    with np.load(golden / f"{model.recording}.npz") as recording:
        assert set(outputs) == set(recording)
        for blob in recording:
            found = outputs[blob].numpy()
            kept = found if step == 1 else found[:, :, ::step, ::step]
            assert close(kept, recording[blob]).all(), blob
    return net.dialect


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.recording)
def test_outputs_are_the_recorded_ones(models, shared, model):
    assert check_outputs(models, shared / "golden/models", model, "auto") == "bvlc"


# The file shows that it is SegNet's or ENet's; on the types of this net the two agree.
@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "taken"), [("auto", "segnet"), ("enet", "enet")])
def test_enet_gives_the_recorded_scores(models, shared, dialect, taken):
    assert check_outputs(models, shared / "golden/models", ENET_FINAL, dialect, step=8) == taken


def munich(models: Path) -> torch.Tensor:
    """The photo as ENet's authors fed it: BGR, halved by the mean of 2x2, nothing subtracted."""
    with Image.open(models / f"{ENET}munich_000000_000019_leftImg8bit.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))[:, :, ::-1].astype(np.float32)
    halved = pixels.reshape(512, 2, 1024, 2, 3).mean((1, 3))
    return torch.from_numpy(np.ascontiguousarray(halved.transpose(2, 0, 1)[None]))


def pixels_of(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode))


@torch.no_grad()
def check_munich(models: Path, golden: Path, recording: str, prototxt: Path, weights: str) -> np.ndarray:
    """Runs a net on the photo, compares scores and blobs with ENet's fork; returns the label map.

    Where two values of a pooling window differ by rounding only, the place that Upsample fills is chance: a
    relative change of 1e-7 of the input moves 0.03 % of the scores by more than the tolerance. So one
    score in a thousand may be off.
    """
    net = load_net(prototxt, models / weights, dialect="enet")
    blobs = net.forward_blobs(data=munich(models))
    scores = blobs["deconv6_0_0"][0].numpy()
    with np.load(golden / f"{recording}_logits.npz") as recorded:
        places = recorded["pos"]
        found = [scores[label][tuple(places[label].T)] for label in range(19)]
        same = np.concatenate(
            [
                close(np.stack(found), recorded["val"]).ravel(),
                close(scores[:, ::16, ::16], recorded["sub16"]).ravel(),
            ]
        )
        assert same.mean() >= 0.999
        spread = zip(recorded["blob_names"], recorded["blob_mean"], recorded["blob_std"], strict=True)
        compared = 0
        for name, mean, deviation in spread:
            if name in blobs and deviation:
                values = blobs[str(name)].double()
                assert abs(values.mean().item() - mean) <= RELATIVE * deviation, name
                assert abs(values.std(correction=0).item() - deviation) <= RELATIVE * deviation, name
                compared += 1
        assert compared > 200
    labels = scores.argmax(0)
    assert (labels == pixels_of(golden / f"{recording}_argmax.png", "L")).mean() >= 0.9999
    return labels


@pytest.mark.slow
def test_enet_paints_the_picture_that_its_authors_published(models, shared):
    golden = shared / "golden/models/enet"
    labels = check_munich(
        models, golden, "enet_cityscapes_final", models / ENET_FINAL.prototxt, ENET_FINAL.weights
    )
    palette = pixels_of(models / f"{ENET}cityscapes19.png", "RGB")[0, :, ::-1]  # the file is BGR
    published = pixels_of(models / f"{ENET}munich_000000_000019_leftImg8bit_enet.png", "RGB")
    assert (palette[labels] == published).all(-1).mean() >= 0.9999


def without_python(text: str) -> tuple[str, int]:
    """The net before merging, with BN in LEARN, and what ENet's Python SpatialDropout does in TEST as Power.

    The Python layer itself is the user's module (spatial_dropout.py), which is not among the files.
    """
    text = text.replace("bn_mode: INFERENCE", "bn_mode: LEARN").replace('type: "Python"', 'type: "Power"')
    return re.subn(
        r"python_param \{.*?'p\\': \\'([0-9.]+).*?\n  \}",
        lambda match: f"power_param {{ scale: {1 / (1 - float(match[1])):.9g} }}",
        text,
        flags=re.S,
    )


@pytest.mark.slow
def test_enet_before_merging_learns_its_statistics(models, shared, tmp_path):
    text, replaced = without_python((models / f"{ENET}enet_deploy.prototxt").read_text())
    assert replaced == 27
    (tmp_path / "net.prototxt").write_text(text)
    golden = shared / "golden/models/enet"
    check_munich(models, golden, "enet_prebn_learn", tmp_path / "net.prototxt", BINARY[-1])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.recording)
def test_every_layer_finds_its_weights(models, model):
    net = load_net(models / model.prototxt)
    copied, ignored = net.copy_from(models / model.weights)
    assert set(copied) == set(net.params) and not ignored


def test_enets_weights_have_only_merged_layers_to_spare(models):
    net = load_net(models / ENET_FINAL.prototxt)
    copied, ignored = net.copy_from(models / ENET_FINAL.weights)
    assert set(copied) == set(net.params)
    types = {layer.name: layer.type for layer in load_caffemodel(models / ENET_FINAL.weights).layers}
    assert {types[name] for name in ignored} == {"BN"}  # Caffe too says "Ignoring source layer" here


def test_old_lenet_says_that_it_was_upgraded(models):
    net = load_net(models / "lenet_v1/lenet.prototxt")
    assert net.file.notes and net.shapes["data"] == (64, 1, 28, 28)
    assert [layer.type for layer in net.layers][:2] == ["Convolution", "Pooling"]


def test_hdf5_weights_are_those_of_the_file(models):
    h5py = pytest.importorskip("h5py")
    weights = models / f"{CIFAR}_iter_5000.caffemodel.h5"
    net = load_net(models / f"{CIFAR}.prototxt")
    copied, ignored = net.copy_from(weights)
    assert set(copied) == set(net.params) and not ignored
    with h5py.File(weights) as file:
        for name, blobs in net.params.items():
            for index, blob in enumerate(blobs):
                np.testing.assert_array_equal(blob.detach().numpy(), file[f"data/{name}/{index}"][()])
    probabilities = net(data=torch.ones(1, 3, 32, 32))["prob"]
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", BINARY)
def test_binary_weights_come_back_byte_for_byte(models, tmp_path, name):
    source, target = models / name, tmp_path / "out.caffemodel"
    model = load_caffemodel(source)
    model.save(target)
    assert target.read_bytes() == source.read_bytes()
    values = {
        (layer.name, index): blob.array().copy()
        for layer in model.layers
        for index, blob in enumerate(layer.blobs)
    }
    model.with_blobs(values).save(target)
    assert values and target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", BINARY[1:])
def test_new_weights_written_layer_by_layer_have_caffes_bytes(models, tmp_path, name):
    source, target = models / name, tmp_path / "out.caffemodel"
    model = load_caffemodel(source)
    layers = [(layer.message_bytes(), [blob.array() for blob in layer.blobs]) for layer in model.layers]
    write_caffemodel(target, model.name, layers)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", [f"{CIFAR}_iter_4000.solverstate", "lenet_v1/lenet_iter_10000.solverstate"])
def test_solverstates_come_back_byte_for_byte(models, tmp_path, name):
    write_solverstate(tmp_path / "out.solverstate", load_solverstate(models / name))
    assert (tmp_path / "out.solverstate").read_bytes() == (models / name).read_bytes()


def contents(path: Path) -> dict[str, object]:
    """Every group (None) and dataset of an HDF5 file."""
    h5py = pytest.importorskip("h5py")
    found: dict[str, object] = {}

    def visit(name: str, item: object) -> None:
        is_group = isinstance(item, h5py.Group)
        found[name] = None if is_group else (item.shape, item.dtype, np.asarray(item[()]).tolist())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_hdf5_weights_come_back_with_the_same_datasets(models, tmp_path):
    source, target = models / f"{CIFAR}_iter_5000.caffemodel.h5", tmp_path / "out.caffemodel.h5"
    expected = contents(source)
    layers = load_caffemodel(source).layers
    write_caffemodel_h5(
        target, [(layer.name, dict(enumerate(blob.array() for blob in layer.blobs))) for layer in layers]
    )
    assert contents(target) == expected


def test_hdf5_solverstate_comes_back_with_the_same_datasets(models, tmp_path):
    source, target = models / f"{CIFAR}_iter_5000.solverstate.h5", tmp_path / "out.solverstate.h5"
    expected = contents(source)
    write_solverstate(target, load_solverstate(source))
    assert contents(target) == expected
