"""A network from a PyTorch program: the data, losses and solvers around its scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rlossctl.configs.networks import common, torch_style
from rlossctl.configs.networks.common import preset
from rlossctl.configs.networks.network import Network, network
from rlossctl.prototxt.netspec import L, NetSpec

EXP = preset("EXP", "pascal_scribble")  # no layer is named after it
FULL_RESOLUTION = "cross-entropy at full resolution, as scribbles are thin"
DIVIDED = """
SoftmaxWithLoss gives the mean over the batch's labelled pixels, and so does PyTorch's CrossEntropyLoss.
The program divides that mean by the batch size: the weight is 1 / BATCH_SIZE, so set both."""
IMAGES = 10582  # in VOC's augmented training list, which the programs' epochs go through


@dataclass(frozen=True)
class Training:
    """A program's own training settings for VOC: SGD, momentum 0.9, a rate that falls with power 0.9.

    Attributes:
        about: the origin of the settings, for the header of the solvers.
        crop: side of the training crops.
        batch: images in a batch.
        base_lr: the rate in the program's settings.
        backbone, rest: rates of the backbone and of all other layers, in units of base_lr.
        weight_decay: weight decay of every learned blob, including norms and biases.
        max_iter: updates.
        ahead: updates by which the schedule is ahead of Caffe's.
        divided: whether the cross-entropy, already a mean, is also divided by the batch size.
        regularizers: the regularized losses with which there are training nets (see REGULARIZERS), and the
            default weights.
        augment: fields of transform_param for what is random besides crop and flip.
    """

    about: str
    crop: int
    batch: int
    base_lr: float
    backbone: float
    rest: float
    weight_decay: float
    max_iter: int
    ahead: int = 0
    divided: bool = False
    regularizers: Mapping[str, str] = field(default_factory=dict)
    augment: Mapping[str, Any] = field(default_factory=dict)


def epochs(count: int, batch: int) -> int:
    """Updates in `count` epochs; each epoch ends with a smaller batch."""
    return count * math.ceil(IMAGES / batch)


RLOSS = Training(
    about="As the rloss program for PyTorch trains: 60 epochs of 882 batches of 12.",
    crop=513,
    batch=12,
    base_lr=0.007,
    backbone=1,
    rest=10,
    weight_decay=0.0005,
    max_iter=epochs(60, 12),
    divided=True,
    regularizers={"densecrfloss": "2e-9", "kernelcut": "2e-9"},
    augment={
        "base_size": preset("BASE_SIZE", 513),
        "scale_min": 0.5,
        "scale_max": 2,
        "blur_sigma": 1,
        "blur_probability": 0.5,
    },
)
SEGMENTATION = Training(
    about="""As pytorch-segmentation trains: 80 epochs of 1323 batches of 8, backbones at a tenth of the rate,
poly one update ahead of Caffe's.""",
    crop=380,
    batch=8,
    base_lr=0.01,
    backbone=0.1,
    rest=1,
    weight_decay=0.0001,
    max_iter=epochs(80, 8),
    ahead=1,
    # The program has no such term: 12 times rloss's weight, whose cross-entropy counts a twelfth.
    regularizers={"densecrfloss": "2.4e-8"},
    augment={
        "base_size": preset("BASE_SIZE", 400),
        "base_side": "LONG",
        "scale_min": 0.5,
        "scale_max": 2,
        "rotate": 10,
        "blur_sigma": 1,
    },
)
GATED_CRF = Training(
    about="As the program of the Gated CRF loss trains: 90,000 batches of 48, one rate for all layers.",
    crop=256,
    batch=48,
    base_lr=0.007,
    backbone=1,
    rest=1,
    weight_decay=0.0001,
    max_iter=90000,
    regularizers={"gatedcrfloss": "0.1"},
    augment={"scale_min": 0.5, "scale_max": 2, "scale_law": "WINDOW"},
)
DDD = Training(
    about="As the program of dual decomposition trains: 50 epochs of 662 batches of 16, one rate for all.",
    crop=513,
    batch=16,
    base_lr=0.007,
    backbone=1,
    rest=1,
    weight_decay=0.0001,
    max_iter=epochs(50, 16),
    augment={
        "scale_min": 0.5,
        "scale_max": 1.5,
        "rotate": 10,
        **dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.1),
    },
)


def program(
    name: str,
    about: str,
    module: str,
    scores: Callable[[NetSpec], object],
    *,
    size: int,
    training: Training = SEGMENTATION,
    crop: int | None = None,
    start: str = "pytorch-segmentation's checkpoint",
    backbone: tuple[str, ...] = ("backbone.",),
    auxiliary: Mapping[str, float] | None = None,
    train_only: Callable[[NetSpec], object] | None = None,
) -> Network:
    """One network of a program.

    Args:
        name, module, start: see Network.
        about: the header of the prototxts.
        scores: adds the layers from the image to the blob "score", which has the size of the image.
        size: test images are padded to this side.
        training: the program's settings.
        crop: side of the training crops, if the network cannot take the program's.
        backbone: prefixes of the names of layers that learn at the backbone's rate.
        auxiliary: blobs of the image's size, and the weight of their cross-entropy in training.
        train_only: adds further layers to the training nets, such as another loss.
    """
    weights = auxiliary or {}
    net_id = preset("NET_ID", name)

    def train_net(loss: str) -> NetSpec:
        n = NetSpec(net_id, header=about)
        common.train_data(
            n,
            batch_size=preset("BATCH_SIZE", training.batch),
            exp=EXP,
            crop_size=preset("CROP_SIZE", crop or training.crop),
            mean_value=torch_style.MEAN_BGR,
            **training.augment,
        )
        scores(n)
        torch_style.set_rates(n, partial(_rate, training, backbone))
        _cross_entropy(n, training)
        for blob, weight in weights.items():
            common.cross_entropy(n, f"{blob}_loss", n[blob], n.label, loss_weight=weight)
        if train_only:
            train_only(n)
        if loss:
            REGULARIZERS[loss](n, training.regularizers[loss])
        common.train_accuracy(n, "accuracy", n.score, n.label)
        return n

    def test_net() -> NetSpec:
        n = NetSpec(net_id, header=about)
        common.test_data(n, exp=EXP, crop_size=preset("TEST_SIZE", size), mean_value=torch_style.MEAN_BGR)
        scores(n)
        common.test_accuracy(n, "accuracy", n.score)
        n.silence = L.Silence(n.data_dim, *(n[blob] for blob in weights), ntop=0)
        return n

    return network(name, module, start, train_net, test_net, _solvers(net_id, training), training.about)


def _rate(training: Training, backbone: tuple[str, ...], layer: str) -> float:
    return training.backbone if layer.startswith(backbone) else training.rest


def _cross_entropy(n: NetSpec, training: Training) -> None:
    n.comment(FULL_RESOLUTION + (DIVIDED if training.divided else ""))
    weight = preset("CROSS_ENTROPY_WEIGHT", f"{1 / training.batch:.9g}" if training.divided else 1)
    common.cross_entropy(n, "loss", n.score, n.label, loss_weight=weight)


def _densecrf_loss(n: NetSpec, weight: str) -> None:
    """As in rloss's PyTorch program, whose deviation of 100 pixels is 50 in the half-size image."""
    n.comment("DenseCRF loss at half the size: deviations are in pixels of that image")
    n.data_half = L.Interp(n.data, shrink_factor=2)
    n.score_half = L.Interp(n.score, shrink_factor=2)
    n.score_half_softmax = L.Softmax(n.score_half)
    n.densecrf_loss = L.DenseCRFLoss(
        n.data_half,
        n.score_half_softmax,
        propagate_down=[False, True],
        loss_weight=preset("DENSECRF_LOSS_WEIGHT", weight),
        bi_xy_std=preset("BI_XY_STD", 50),
        bi_rgb_std=preset("BI_RGB_STD", 15),
    )


def _kernel_cut(n: NetSpec, weight: str) -> None:
    """Tang et al. 2018, whose weights are not published: that of the normalised cut is measured."""
    _densecrf_loss(n, weight)
    n.comment(
        "KernelCut has the normalised cut beside it, whose weight is measured: "
        "it pulls at the scores with 0.3 of the others' force"
    )
    n.normalized_cut_loss = L.NormalizedCutLoss(
        n.data_half,
        n.score_half_softmax,
        propagate_down=[False, True],
        loss_weight=preset("NORMALIZED_CUT_LOSS_WEIGHT", 1),
        loss_schedule={"pull": preset("NORMALIZED_CUT_PULL", 0.3)},
        bi_xy_std=preset("NORMALIZED_CUT_XY_STD", 20),
        bi_rgb_std=preset("NORMALIZED_CUT_RGB_STD", 15),
    )


def _gated_crf_loss(n: NetSpec, weight: str) -> None:
    n.comment(
        "Gated CRF loss on the softmax at stride 4; the image's padding, 0 in every channel, sends nothing"
    )
    n.low_softmax = L.Softmax(n["decoder.last_conv.8"])
    n.gated_crf_loss = L.GatedCRFLoss(
        n.scaled,
        n.low_softmax,
        propagate_down=[False, True],
        loss_weight=preset("GATED_CRF_LOSS_WEIGHT", weight),
        loss_schedule={"start_ratio": preset("GATED_CRF_START_RATIO", 0.005)},
        kernel=[{"weight": 1, "xy_std": 6, "image_std": 0.1}],
        radius=5,
    )


def _solvers(net_id: str, training: Training) -> dict[str, dict[str, object]]:
    schedule: dict[str, Any] = {
        "lr_policy": "poly",
        "power": 0.9,
        **({"lr_ahead": training.ahead} if training.ahead else {}),
        "average_loss": 20,
        "display": 20,
        "base_lr": preset("BASE_LR", training.base_lr),
        "max_iter": preset("MAX_ITER", training.max_iter),
        "weight_decay": training.weight_decay,
    }
    solvers = {"solver": common.solver("train", net_id, exp=EXP, **schedule)}
    for loss in training.regularizers:
        solvers[f"solverwith{loss}"] = common.solver(f"trainwith{loss}", net_id, exp=EXP, **schedule, seed=1)
    return solvers


REGULARIZERS: Mapping[str, Callable[[NetSpec, str], None]] = {
    "densecrfloss": _densecrf_loss,
    "kernelcut": _kernel_cut,
    "gatedcrfloss": _gated_crf_loss,
}
