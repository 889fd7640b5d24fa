"""DeepLab v3: a dilated backbone, atrous spatial pyramid pooling and a classifier at stride 16, and the same
with a CRF behind the classifier that dual decomposition solves.

The networks of the program of "End-to-end Training of CNN-CRF via Differentiable Dual-Decomposition" (Wang et
al. 2019). Layers are named after DeepLab v3+'s, whose backbones they share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rlossctl.configs.networks import common, resnets, xception
from rlossctl.configs.networks.common import preset
from rlossctl.configs.networks.deeplabv3plus import aspp
from rlossctl.configs.networks.network import Network
from rlossctl.configs.networks.program import DDD, program
from rlossctl.configs.networks.torch_style import classifier, resize, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

RATES = (6, 12, 18)
STRIDE = 16
HEAD = {"type": "gaussian", "std": 0.001}  # the original's, for the unary and the pairwise scores
Trunk = Callable[[NetSpec, Top], tuple[Top, Top]]


def _scores(n: NetSpec, trunk: Trunk, iterations: int) -> None:
    """From the image to the scores; `iterations` of the CRF, none for 0."""
    x, _ = trunk(n, scaled(n, n.data))
    x = aspp(n, x, RATES)
    n.comment("classifier")
    scores = classifier(n, x, "unary", weight_filler=HEAD)
    if iterations:
        n.comment("CRF between pixels 1 and 2 apart, whose pairwise scores come from the same features")
        n.crf = scores = L.DualDecompositionCRF(
            scores, x, dual_decomposition_crf_param={"iterations": iterations, "weight_filler": HEAD}
        )
    resize(n, scores, "score", n.data)


def _unary_loss(n: NetSpec) -> None:
    n.comment("auxiliary cross-entropy of the unary scores, on every 16th pixel of the labels")
    common.shrink(n, "label_shrink", n.label, STRIDE)
    weight = preset("UNARY_LOSS_WEIGHT", 1)
    common.cross_entropy(n, "unary_loss", n.unary, n.label_shrink, loss_weight=weight)


def _network(name: str, about: str, start: str, trunk: Trunk, iterations: int) -> Network:
    return program(
        name,
        f"DeepLab v3 on {about}, output stride {STRIDE}, as in the program of dual decomposition.",
        __name__,
        partial(_scores, trunk=trunk, iterations=iterations),
        size=513,
        training=DDD,
        start=start,
        train_only=_unary_loss if iterations else None,
    )


_RESNET = partial(resnets.trunk, depth=50, prefix="backbone.", strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
_XCEPTION = partial(xception.trunk, prefix="backbone.")

NETWORKS = (
    _network("deeplabv3_resnet50", "ResNet-50", "torchvision's resnet50", _RESNET, 0),
    _network("deeplabv3_resnet50_ddd", "ResNet-50 with a CRF", "torchvision's resnet50", _RESNET, 5),
    _network("deeplabv3_xception_ddd", "Xception with a CRF", "", _XCEPTION, 15),
)
