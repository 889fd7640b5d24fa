"""DeepLab v3: a dilated backbone, atrous spatial pyramid pooling and a classifier at stride 16; the same with
plain convolutions in place of the pyramid; and both with a CRF behind the classifier that dual decomposition
solves.

The networks of the program of "End-to-end Training of CNN-CRF via Differentiable Dual-Decomposition" (Wang et
al. 2019). Layers are named after DeepLab v3+'s, whose backbones they share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from rlossctl.configs.networks import common, resnets, xception
from rlossctl.configs.networks.common import preset
from rlossctl.configs.networks.deeplabv3plus import aspp
from rlossctl.configs.networks.network import Network
from rlossctl.configs.networks.program import DDD, program
from rlossctl.configs.networks.torch_style import classifier, conv_norm, dilated, resize, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

RATES = (6, 12, 18)
STRIDE = 16
WIDTH = 256
# The loss is the mean of both cross-entropies.
WITH_UNARY = replace(DDD, cross_entropy=0.5)
HEAD = {"type": "gaussian", "std": 0.001}  # the original's, for the unary and the pairwise scores
Trunk = Callable[[NetSpec, Top], tuple[Top, Top]]


class Parts(NamedTuple):
    """What a network is made of: backbone, features for the classifier, iterations of the CRF (0: none)."""

    trunk: Trunk
    features: Callable[[NetSpec, Top], Top]
    iterations: int = 0


def _pyramid(n: NetSpec, x: Top) -> Top:
    return aspp(n, x, RATES)


def _plain(n: NetSpec, x: Top) -> Top:
    """The program's head on block 4 of a ResNet."""
    n.comment("head: a 1 x 1 convolution and two of 3 x 3")
    for index, size in ((0, 1), (3, 3), (6, 3)):
        x = conv_norm(n, x, f"head.{index}", f"head.{index + 1}", WIDTH, **dilated(size))
    return x


def _scores(n: NetSpec, parts: Parts) -> None:
    x, _ = parts.trunk(n, scaled(n, n.data))
    x = parts.features(n, x)
    n.comment("classifier")
    scores = classifier(n, x, "unary", weight_filler=HEAD)
    if parts.iterations:
        n.comment("CRF between pixels 1 and 2 apart, whose pairwise scores come from the same features")
        crf = {"iterations": parts.iterations, "weight_filler": HEAD}
        n.crf = scores = L.DualDecompositionCRF(scores, x, dual_decomposition_crf_param=crf)
    resize(n, scores, "score", n.data)


def _unary_loss(n: NetSpec) -> None:
    n.comment("auxiliary cross-entropy of the unary scores, on every 16th pixel of the labels")
    common.shrink(n, "label_shrink", n.label, STRIDE)
    weight = preset("UNARY_LOSS_WEIGHT", WITH_UNARY.cross_entropy)
    common.cross_entropy(n, "unary_loss", n.unary, n.label_shrink, loss_weight=weight)


def _network(name: str, about: str, start: str, parts: Parts) -> Network:
    return program(
        f"deeplabv3_{name}",
        f"DeepLab v3 on {about}, output stride {STRIDE}, as in the program of dual decomposition.",
        __name__,
        partial(_scores, parts=parts),
        size=513,
        training=WITH_UNARY if parts.iterations else DDD,
        start=start,
        train_only=_unary_loss if parts.iterations else None,
    )


_RESNET = partial(resnets.trunk, depth=50, prefix="backbone.", strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
_XCEPTION = partial(xception.trunk, prefix="backbone.")
_START = "torchvision's resnet50"

NETWORKS = (
    _network("resnet50", "ResNet-50", _START, Parts(_RESNET, _pyramid)),
    _network("resnet50_ddd", "ResNet-50 with a CRF", _START, Parts(_RESNET, _pyramid, 5)),
    _network("resnet50_block4", "ResNet-50 without a pyramid", _START, Parts(_RESNET, _plain)),
    _network(
        "resnet50_block4_ddd", "ResNet-50 without a pyramid, with a CRF", _START, Parts(_RESNET, _plain, 15)
    ),
    _network("xception", "Xception", "", Parts(_XCEPTION, _pyramid)),
    _network("xception_ddd", "Xception with a CRF", "", Parts(_XCEPTION, _pyramid, 15)),
)
