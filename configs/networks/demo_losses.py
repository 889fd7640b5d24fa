"""The net of `rlossctl demo` with each loss in turn, for `rlossctl demo --losses`.

A net's text has the loss's name, such as `demo_losses/gatedcrf`. Regularizers stand beside the cross-
entropy of the labelled pixels. Unless their weight is given, it is measured, so that all pull at the scores
with the same force, PULL times that of the cross-entropy. The losses of full masks take the cross-entropy's
place or stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rlossctl.configs.networks import demo, scratch
from rlossctl.configs.networks.common import IGNORE_LABEL, preset
from rlossctl.configs.networks.network import Network, net_text
from rlossctl.prototxt.netspec import L, NetSpec, Top

ABOUT = "The net of `rlossctl demo` with one of the losses that `rlossctl demo --losses` compares."
WITHOUT_LABEL = {"ignore_label": IGNORE_LABEL}
OF_IMAGE = {"propagate_down": [False, True]}
MEASURED = {"loss_weight": 1, "loss_schedule": {"pull": preset("PULL", 1)}}


def _softmax(n: NetSpec) -> Top:
    scratch.cross_entropy(n)
    n.score_softmax = L.Softmax(n.score)
    return n.score_softmax


def _densecrf(n: NetSpec) -> None:
    scratch.densecrf_loss(n, demo.DESIGN.weight)


def _normalized_cut(n: NetSpec) -> None:
    _cut(n, _softmax(n))


def _kernel_cut(n: NetSpec) -> None:
    _densecrf(n)
    _cut(n, n.score_softmax)


def _cut(n: NetSpec, soft: Top) -> None:
    xy, rgb = preset("NORMALIZED_CUT_XY_STD", 8), preset("NORMALIZED_CUT_RGB_STD", 15)
    n.normalized_cut_loss = L.NormalizedCutLoss(
        n.data, soft, **OF_IMAGE, **MEASURED, bi_xy_std=xy, bi_rgb_std=rgb
    )


def _gated_crf(n: NetSpec) -> None:
    scratch.cross_entropy(n)
    n.comment("at stride 2, where the scores are made")
    n.low_softmax = L.Softmax(n.sum1)
    kernel = {"weight": 1, "xy_std": preset("GATED_CRF_XY_STD", 6), "image_std": 15}
    n.gated_crf_loss = L.GatedCRFLoss(
        n.data, n.low_softmax, **OF_IMAGE, **MEASURED, kernel=[kernel], radius=preset("GATED_CRF_RADIUS", 5)
    )


def _potts(n: NetSpec, relaxation: str) -> None:
    soft = _softmax(n)
    n.potts_loss = L.PottsLoss(n.data, soft, **OF_IMAGE, **MEASURED, relaxation=relaxation, image_std=15)


def _tree(n: NetSpec) -> None:
    soft = _softmax(n)
    n.tree_energy_loss = L.TreeEnergyLoss(
        n.data, soft, n.label, **MEASURED, loss_param=WITHOUT_LABEL, tree_energy_loss_param={"sigma": 67}
    )


def _entropy(n: NetSpec) -> None:
    soft = _softmax(n)
    n.entropy_loss = L.EntropyLoss(
        soft, n.label, **MEASURED, loss_param=WITHOUT_LABEL, entropy_loss_param={"region": "UNLABELLED"}
    )


def _size(n: NetSpec) -> None:
    soft = _softmax(n)
    n.comment("a class without a scribble in the crop is not there; any other covers 1 to 60 % of it")
    bounds = [{"class": number, "low": 0.01, "high": 0.6} for number in range(1, 5)]
    n.size_loss = L.SizeLoss(
        soft,
        n.label,
        n.data,
        **MEASURED,
        loss_param=WITHOUT_LABEL,
        size_loss_param={"source": "TAG", "normalize": "AREA2", "bound": bounds},
    )


def _self_labelling(n: NetSpec) -> None:
    soft = _softmax(n)
    n.soft = L.SoftPseudoLabel(
        n.data, soft, n.label, loss_param=WITHOUT_LABEL, soft_pseudo_label_param={"image_std": 15}
    )
    n.collision_loss = L.CollisionCrossEntropyLoss(
        soft, n.soft, n.label, loss_weight=preset("ETA", 0.3), loss_param=WITHOUT_LABEL
    )


def _focal(n: NetSpec, **param: Any) -> None:
    n.focal_loss = L.FocalLoss(n.score, n.label, loss_param=WITHOUT_LABEL, focal_loss_param=param)


def _dice(n: NetSpec) -> None:
    scratch.cross_entropy(n)
    n.dice_loss = L.DiceLoss(n.score, n.label, loss_param=WITHOUT_LABEL)


def _lovasz(n: NetSpec) -> None:
    scratch.cross_entropy(n)
    n.lovasz_loss = L.LovaszLoss(n.score, n.label, loss_param=WITHOUT_LABEL)


RELAXATIONS = (
    "BILINEAR",
    "QUADRATIC",
    "NORMALIZED",
    "COLLISION_CROSS_ENTROPY",
    "COLLISION_DIVERGENCE",
    "LOG_QUADRATIC",
)
LOSSES: dict[str, Callable[[NetSpec], object]] = {
    "densecrf": _densecrf,
    "normalizedcut": _normalized_cut,
    "kernelcut": _kernel_cut,
    "gatedcrf": _gated_crf,
    **{f"potts_{name.lower()}": partial(_potts, relaxation=name) for name in RELAXATIONS},
    "tree": _tree,
    "entropy": _entropy,
    "size": _size,
    "selflabelling": _self_labelling,
    "focal": partial(_focal, gamma=2),
    "bce": partial(_focal, gamma=0, activation="SIGMOID"),
    "dice": _dice,
    "lovasz": _lovasz,
}


def _text(losses: Callable[[NetSpec], object]) -> str:
    return net_text(scratch.net_with(demo.DESIGN._replace(about=ABOUT), losses))


def _test_text() -> str:
    return net_text(scratch.test_net(demo.DESIGN))


NETWORKS = (
    Network(
        "demo_losses",
        __name__,
        "a trained demo",
        {**{name: partial(_text, losses) for name, losses in LOSSES.items()}, "test": _test_text},
    ),
)
