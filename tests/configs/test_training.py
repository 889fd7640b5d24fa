"""The networks of other programs train as these did: their settings, and one update against PyTorch's SGD."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rlossctl import configs, train
from rlossctl.losses import caffe_mask, densecrf_loss, gated_crf_loss, normalized_cut_loss
from rlossctl.prototxt import load_net_parameter, load_solver_parameter
from rlossctl.solver.load import load_solver

LABELS = {"NUM_LABELS": 21, "NUM_LABELS_16": 336}


class Row(NamedTuple):
    """A program's settings for VOC.

    Attributes:
        named: the rate that the program's own settings name.
        backbone, rest: learning rates of the two groups of parameters.
        weight: of the cross-entropy, a mean over labelled pixels.
        densecrf: weight of the DenseCRF loss; None where there is no net with it.
    """

    named: float
    backbone: float
    rest: float
    decay: float
    batch: int
    crop: int
    updates: int
    weight: float
    densecrf: float | None


TABLE = {
    # CE / N + 2e-9 DenseCRF; 60 epochs of 10,582 images in batches of 12
    "rloss": Row(0.007, 0.007, 0.07, 5e-4, 12, 513, 60 * 882, 1 / 12, 2e-9),
    "gatedcrf": Row(0.007, 0.007, 0.007, 1e-4, 48, 256, 90_000, 1, None),
    # 50 epochs of batches of 16
    "ddd": Row(0.007, 0.007, 0.007, 1e-4, 16, 513, 50 * 662, 1, None),
    # 80 epochs of batches of 8
    "segmentation": Row(0.01, 0.001, 0.01, 1e-4, 8, 380, 80 * 1323, 1, 12 * 2e-9),
    # 30 epochs of batches of 8
    "torchvision": Row(0.01, 0.01, 0.01, 1e-4, 8, 480, 30 * 1323, 1, None),
}
# What a network's own program counts to its backbone, where that is not called so.
BACKBONES = {"fcn8_vgg16_segmentation": ("pool3", "pool4", "pool5", "output")}
# Of networks that need a multiple of 8, 16 or 32.
CROPS = {"enet_segmentation": 384, "unet_segmentation": 384, "segnet_segmentation": 384}
FROM_SCRATCH = (*CROPS, "unet_2020_segmentation")  # no backbone: all layers learn at one rate
LEARNED = ("Convolution", "Deconvolution", "Scale", "PReLU")


def row_of(name: str) -> Row:
    kinds = {"_gatedcrf": "gatedcrf", "_segmentation": "segmentation"}
    kinds |= {"_torchvision": "torchvision", "deeplabv3_": "ddd"}
    return TABLE[next((kind for part, kind in kinds.items() if part in name), "rloss")]


PROGRAMS = [
    name
    for name in configs.NETWORKS
    if (name.startswith("deeplabv3") and not re.search("efficientnet|_smp", name))
    or name.endswith(("_torchvision", "_segmentation", "_segmentation_os8"))
]


def test_the_table_is_of_all_programs():
    assert {row_of(name) for name in PROGRAMS} == set(TABLE.values())


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_solvers_are_the_programs(name):
    row = row_of(name)
    solvers = [which for which in configs.NETWORKS[name].writers if which.startswith("solver")]
    regularizers = {TABLE["rloss"]: 2, TABLE["segmentation"]: 1, TABLE["gatedcrf"]: 1}
    assert len(solvers) == 1 + regularizers.get(row, 0)
    for which in solvers:
        solver = load_solver_parameter(f"{name}/{which}", {})
        assert solver.base_lr == pytest.approx(row.named)
        assert (solver.lr_policy, solver.max_iter, solver.type) == ("poly", row.updates, "SGD")
        assert solver.power == pytest.approx(0.9) and solver.momentum == pytest.approx(0.9)
        assert solver.weight_decay == pytest.approx(row.decay)
        assert solver.regularization_type == "L2" and solver.iter_size == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_layer_has_the_rate_and_the_decay_of_its_program(name):
    row = row_of(name)
    base = load_solver_parameter(f"{name}/solver", {}).base_lr
    backbone = BACKBONES.get(name, ("backbone.",))
    rates: dict[bool, set[float]] = {True: set(), False: set()}
    for layer in load_net_parameter(f"{name}/train", LABELS).layer:
        if layer.type not in LEARNED or layer.name == "scaled" or layer.name.startswith("up_"):
            continue
        bias = layer.scale_param.bias_term if layer.type == "Scale" else layer.convolution_param.bias_term
        blobs = 1 if layer.type == "PReLU" else 1 + bias
        assert len(layer.param) in (0, blobs), layer.name
        assert all(param.decay_mult == 1 for param in layer.param), layer.name
        mults = {param.lr_mult for param in layer.param} or {1.0}
        rates[layer.name.startswith(backbone)] |= {base * mult for mult in mults}
    assert list(rates[False]) == pytest.approx([row.rest])
    assert list(rates[True]) == pytest.approx([] if name in FROM_SCRATCH else [row.backbone])


@pytest.mark.slow
@pytest.mark.smallest("name")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_data_and_the_losses_are_the_programs(name):
    row = row_of(name)
    for which in ("train", "trainwithdensecrfloss", "trainwithkernelcut", "trainwithgatedcrfloss"):
        if which not in configs.NETWORKS[name].writers:
            assert row.densecrf is None or not which.endswith("densecrfloss")
            continue
        layers = {layer.name: layer for layer in load_net_parameter(f"{name}/{which}", LABELS).layer}
        data = layers["data"]
        assert data.image_data_param.batch_size == row.batch
        assert data.transform_param.crop_size == CROPS.get(name, row.crop)
        assert data.transform_param.mirror and data.image_data_param.shuffle
        weights = {key: layer.loss_weight[0] for key, layer in layers.items() if layer.loss_weight}
        expected = {"loss": row.weight}
        if name.startswith("pspnet"):
            expected["auxiliary_loss"] = 0.4
        if name.endswith("_ddd"):
            expected["unary_loss"] = 1
        if which in ("trainwithdensecrfloss", "trainwithkernelcut"):
            expected["densecrf_loss"] = row.densecrf
        if which == "trainwithkernelcut":
            expected["normalized_cut_loss"] = 1
        if which == "trainwithgatedcrfloss":
            expected["gated_crf_loss"] = 0.1
        assert weights == pytest.approx(expected, rel=1e-6, abs=0)
        for layer in layers.values():
            if layer.type == "BatchNorm":  # PyTorch's momentum 0.1 and epsilon
                assert layer.batch_norm_param.moving_average_fraction == pytest.approx(0.9)
                assert layer.batch_norm_param.eps == pytest.approx(1e-3 if "mobilenet_v3" in name else 1e-5)


def test_the_gated_crf_loss_is_the_programs():
    """On the softmax at stride 4 and the normalised image, whose padding the program masks."""
    layers = {layer.name: layer for layer in load_net_parameter(GATED, LABELS).layer}
    loss = layers["gated_crf_loss"]
    (kernel,) = loss.gated_crf_loss_param.kernel
    assert (kernel.weight, kernel.xy_std, kernel.image_std) == pytest.approx((1, 6, 0.1))
    assert loss.gated_crf_loss_param.radius == 5 and list(loss.bottom) == ["scaled", "low_softmax"]
    assert loss.loss_schedule.start_ratio == pytest.approx(0.005)  # the program's use_after_progress_ratio
    assert list(layers["low_softmax"].bottom) == ["decoder.last_conv.8"] == list(layers["score"].bottom)[:1]


GATED = "deeplabv3plus_resnet34_gatedcrf/trainwithgatedcrfloss"


def cross_entropy(score, label):
    return F.cross_entropy(score, label[:, 0].long(), ignore_index=255)  # over the batch's labelled pixels


def rloss(blobs, weight):
    """CE / N + w CRF, the CRF on every second pixel, in the padding switched off."""
    image, score = blobs["data"], blobs["score"]
    half, probabilities = image[..., ::2, ::2], F.softmax(score, 1)[..., ::2, ::2]
    crf = densecrf_loss(half, probabilities, caffe_mask(half), 50, 15)
    return cross_entropy(score, blobs["label"]) / len(image) + weight * crf


def kernel_cut(blobs, weight):
    image, probabilities = blobs["data_half"], F.softmax(blobs["score"], 1)[..., ::2, ::2]
    cut = normalized_cut_loss(image, probabilities, caffe_mask(image), 20, 15)
    return rloss(blobs, weight) + cut


def plain(blobs, _weight):
    return cross_entropy(blobs["score"], blobs["label"])


def gated(blobs, _weight):
    probabilities = F.softmax(blobs["decoder.last_conv.8"], 1)
    mask = (blobs["data"] != 0).any(1)
    return plain(blobs, None) + 0.1 * gated_crf_loss(blobs["scaled"], probabilities, mask)


def pspnet(blobs, weight):
    return plain(blobs, weight) + 0.4 * cross_entropy(blobs["auxiliary"], blobs["label"])


STEPS = {
    "deeplabv3plus_mobilenet/solverwithdensecrfloss": (rloss, 33),
    "deeplabv3plus_mobilenet/solverwithkernelcut": (kernel_cut, 33),
    "deeplabv3plus_resnet34_gatedcrf/solver": (plain, 36),
    "deeplabv3plus_resnet34_gatedcrf/solverwithgatedcrfloss": (gated, 36),
    "deeplabv3plus_resnet50_segmentation/solver": (plain, 36),
    "pspnet_resnet50_segmentation/solver": (pspnet, 33),
    "unet_2020_segmentation/solver": (plain, 30),
    "enet_segmentation/solver": (plain, 32),
}

SETTINGS = {
    rloss: {"CROSS_ENTROPY_WEIGHT": 0.5},
    kernel_cut: {"CROSS_ENTROPY_WEIGHT": 0.5, "NORMALIZED_CUT_PULL": 0},  # from the first update on
    gated: {"GATED_CRF_START_RATIO": 0},
}


@pytest.fixture
def data(tmp_path):
    """A list of one photo, for the data layer."""
    draw = np.random.default_rng(5)
    Image.fromarray(draw.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(draw.integers(3, size=(40, 40), dtype=np.uint8)).save(tmp_path / "label.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_text("a.png label.png\n")
    return {"EXP": tmp_path, "DATA_ROOT": tmp_path}


def batch(size: int):
    """Two photos with scribbles of three classes; the last columns of one are padding."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn((2, 3, size, size), generator=generator) * 60
    label = torch.randint(0, 9, (2, 1, size, size), generator=generator).float()
    label[label > 2] = 255
    image[0, :, :, -5:], label[0, :, :, -5:] = 0, 255
    return {"data": image, "label": label}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_an_update_is_the_programs(name, data):
    """The total loss is the program's formula, and the weights move as torch.optim.SGD moves them."""
    formula, size = STEPS[name]
    weight = 3e-3  # of the DenseCRF loss: on so small images the program's would not be seen
    set_ = {"NUM_LABELS": 3, "CROP_SIZE": size, "BATCH_SIZE": 2, **data}
    set_ |= SETTINGS.get(formula, {})
    solver = load_solver(name, device="cpu", seed=1, DENSECRF_LOSS_WEIGHT=weight, **set_)
    row, inputs = row_of(name), batch(size)
    blobs = {(entry.layer, entry.index): entry.tensor for entry in solver.net.learnable}
    trained = {key: blob for key, blob in blobs.items() if blob.requires_grad}

    torch.manual_seed(2)  # the dropout of both passes
    expected_loss = formula(solver.net.forward_blobs(**inputs), weight)
    twins = {key: blob.detach().clone().requires_grad_() for key, blob in trained.items()}
    gradients = torch.autograd.grad(expected_loss, list(trained.values()))
    for twin, gradient in zip(twins.values(), gradients, strict=True):
        twin.grad = gradient
    backbone = [twin for (layer, _), twin in twins.items() if layer.startswith("backbone.")]
    rest = [twin for (layer, _), twin in twins.items() if not layer.startswith("backbone.")]
    groups = [{"params": backbone, "lr": row.backbone}, {"params": rest, "lr": row.rest}]
    torch.optim.SGD(groups, lr=row.rest, momentum=0.9, weight_decay=row.decay).step()

    before = {key: blob.detach().clone() for key, blob in trained.items()}
    torch.manual_seed(2)
    figures = solver.update(inputs)
    assert figures.loss == pytest.approx(expected_loss.item(), rel=1e-5)
    for key, twin in twins.items():
        moved, expected = trained[key].detach() - before[key], twin.detach() - before[key]
        assert (moved - expected).norm() <= 1e-3 * expected.norm() + 1e-7, key
    if formula in (rloss, kernel_cut):
        assert abs(weight * figures.terms["densecrf_loss"].value) > 0.1 * figures.loss


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("deeplabv3plus_mobilenet/solverwithkernelcut", 33),
        ("deeplabv3plus_resnet34_gatedcrf/solverwithgatedcrfloss", 32),
        pytest.param("deeplabv3_resnet50_ddd/solver", 33, marks=pytest.mark.full),
        pytest.param("deeplabv3_xception_ddd/solver", 33, marks=pytest.mark.full),
    ],
)
def test_a_run_goes_on_as_if_it_had_not_stopped(name, size, data, tmp_path):
    """Weights bit for bit, with one thread, and the measurement of a weight where there is one."""
    settings = {
        **data,
        "NUM_LABELS": 3,
        "CROP_SIZE": size,
        "BATCH_SIZE": 2,
        "max_iter": 3,
        "test_interval": 0,
    }
    whole = train(name, out=tmp_path / "whole", snapshot=2, **settings)
    (state,) = (tmp_path / "whole").glob("*_iter_2.solverstate")
    resumed = train(name, out=tmp_path / "resumed", resume=state, snapshot=0, **settings)
    assert resumed.iter == whole.iter == 3
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    kept = [json.loads(run.snapshot.with_suffix(".resume.json").read_text()) for run in (whole, resumed)]
    assert kept[0].get("schedules") == kept[1].get("schedules")
    assert ("schedules" in kept[0]) == ("kernelcut" in name)
