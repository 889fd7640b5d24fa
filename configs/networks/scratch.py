"""A small network that trains from random weights on a CPU: the nets of demo/ and camvid/.

Convolutions of stride 2 bring the image to the working resolution, where dilated residual blocks widen the
field of view. The blocks start close to the identity, so they can be trained without batch normalisation.
Every resolution gives scores. From the coarsest to the finest they are zoomed by 2 and added; the last zoom
brings them to full resolution. Image sizes must be 2^k m + 1, where k is the number of strides, so that all
of this aligns.

Cross-entropy is computed at full resolution: scribbles are a few pixels wide, and a subsampled label map
would lose most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from rlossctl.configs.networks import common
from rlossctl.configs.networks.common import IGNORE_LABEL, MEAN_BGR
from rlossctl.prototxt.netspec import L, NetSpec, Top


class Design(NamedTuple):
    """A network of this kind and its data.

    Attributes:
        name: the net's name.
        about: the header of the prototxts.
        widths: channels after each convolution of stride 2.
        dilations: dilations of the residual blocks at the working resolution.
        num_output: number of classes, or a placeholder.
        batch_size: images in a training batch.
        train_crop: side of the random training crops.
        test_size: height and width to which test images are padded.
        weight: default weight of the DenseCRF loss.
    """

    name: str
    about: str
    widths: Sequence[int]
    dilations: Sequence[int]
    num_output: int | str
    batch_size: int
    train_crop: int
    test_size: tuple[int, int]
    weight: str


def train_net(design: Design, loss: str) -> NetSpec:
    """With the cross-entropy of the labelled pixels; `loss` adds the DenseCRF loss, "" does not."""
    return net_with(design, partial(densecrf_loss, weight=design.weight) if loss else cross_entropy)


def net_with(design: Design, losses: Callable[[NetSpec], object]) -> NetSpec:
    """The training net with the losses that `losses` adds to the blob "score"."""
    n = NetSpec(design.name, header=design.about)
    n.data, n.label = _data(
        ntop=2,
        include=common.TRAIN_ONLY,
        transform_param={
            "mirror": True,
            "crop_size": common.preset("CROP_SIZE", design.train_crop),
            "mean_value": MEAN_BGR,
        },
        source=common.preset("TRAIN_LIST", "train.txt"),
        batch_size=common.preset("BATCH_SIZE", design.batch_size),
        shuffle=True,
    )
    _score(n, design)
    losses(n)
    common.train_accuracy(n, "accuracy", n.score, n.label)
    return n


def cross_entropy(n: NetSpec) -> None:
    """The mean over the labelled pixels."""
    n.loss = L.SoftmaxWithLoss(n.score, n.label, include=common.TRAIN_ONLY, ignore_label=IGNORE_LABEL)


def densecrf_loss(n: NetSpec, weight: str) -> None:
    """The cross-entropy, and beside it the DenseCRF loss at full resolution."""
    cross_entropy(n)
    common.densecrf_loss(
        n,
        "score",
        xy=common.preset("BI_XY_STD", 8),
        rgb=common.preset("BI_RGB_STD", 15),
        weight=weight,
        ignore_label=False,
    )


def test_net(design: Design) -> NetSpec:
    n = NetSpec(design.name, header=design.about)
    height, width = design.test_size
    n.data, n.label, n.data_dim = _data(
        ntop=3,
        include=common.TEST_ONLY,
        transform_param={"crop_height": height, "crop_width": width, "mean_value": MEAN_BGR},
        source=common.preset("TEST_LIST", "val.txt"),
        batch_size=1,
    )
    _score(n, design)
    common.test_accuracy(n, "accuracy", n.score)
    n.silence = L.Silence(n.data_dim, ntop=0)
    return n


def solver(net: str, *, base_lr: float, max_iter: int, snapshot: int, seed: int) -> dict[str, object]:
    """Adam with a falling rate; a snapshot and a test every `snapshot` iterations and at the end."""
    return {
        "train_net": f"{net}.prototxt",
        **common.validation(snapshot),
        "type": "Adam",
        "lr_policy": "poly",
        "power": 0.9,
        "base_lr": common.preset("BASE_LR", base_lr),
        "display": 50,
        "max_iter": common.preset("MAX_ITER", max_iter),
        "momentum": 0.9,
        "momentum2": 0.999,
        "weight_decay": 0.0001,
        "random_seed": seed,
        "snapshot": snapshot,
        "snapshot_prefix": net,
        "solver_mode": "CPU",
    }


def _data(**fields: Any) -> tuple[Top, ...]:
    return L.ImageSegData(name="data", root_folder=common.DATA_ROOT, label_type="PIXEL", **fields)


def _score(n: NetSpec, design: Design) -> None:
    n.comment("the image divided by 60, about its standard deviation; the DenseCRF loss reads the original")
    n.scaled = x = L.Scale(
        n.data,
        param={"lr_mult": 0, "decay_mult": 0},
        filler={"type": "constant", "value": 0.0166667},
    )
    resolutions = []
    for index, width in enumerate(design.widths, start=1):
        n[f"conv{index}"] = x = _convolution(x, width, kernel_size=3, pad=1, stride=2, weight_filler=_MSRA)
        n[f"relu{index}"] = x = L.ReLU(x, in_place=True)
        resolutions.append(x)
    n.comment("residual blocks at the working resolution")
    for number, dilation in enumerate(design.dilations, start=1):
        x = _block(n, x, f"res{number}", design.widths[-1], dilation)
    resolutions[-1] = x

    n.comment("scores, from the coarsest resolution to the image's")
    total: Top | None = None
    for level in reversed(range(len(resolutions))):
        name = f"score{level + 1}"
        n[name] = score = L.Convolution(
            resolutions[level],
            **common.rates(1),
            num_output=design.num_output,
            kernel_size=3,
            pad=1,
            **common.gaussian(0.01),
        )
        if total is not None:
            name = f"sum{level + 1}"
            n[name] = score = L.Eltwise(total, score, operation="SUM")
        n[f"{name}_interp" if level else "score"] = total = L.Interp(score, zoom_factor=2)


def _block(n: NetSpec, x: Top, name: str, width: int, dilation: int) -> Top:
    """x + two dilated convolutions; the second starts near zero."""
    spatial = {"kernel_size": 3, "pad": dilation, "dilation": dilation}
    n[f"{name}_a"] = y = _convolution(x, width, **spatial, weight_filler=_MSRA)
    n[f"{name}_a_relu"] = y = L.ReLU(y, in_place=True)
    n[f"{name}_b"] = y = _convolution(y, width, **spatial, weight_filler={"type": "gaussian", "std": 0.01})
    n[name] = y = L.Eltwise(x, y, operation="SUM")
    n[f"{name}_relu"] = y = L.ReLU(y, in_place=True)
    return y


_MSRA = {"type": "msra"}


def _convolution(x: Top, width: int, **fields: Any) -> Top:
    return L.Convolution(x, **common.rates(1), num_output=width, **fields)
