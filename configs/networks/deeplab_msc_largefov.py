"""DeepLab-MSc-LargeFOV: LargeFOV, frozen, with five small branches that add detail to its scores.

The branches read the image and the first four pools. In training, the stride of their first convolution
brings them to the resolution of the scores. In the test net they keep their own resolution, and each is
zoomed to the size of the image.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rlossctl.configs.networks import common, vgg
from rlossctl.configs.networks.common import FC8, gaussian
from rlossctl.configs.networks.network import network
from rlossctl.prototxt.netspec import L, NetSpec

NAME = "deeplab_msc_largeFOV"
NET_ID = common.preset("NET_ID", NAME)


class Branch(NamedTuple):
    """A side branch: what it reads, the stride of its first convolution in training, its zoom in the test.

    The three convolutions differ a little between the branches, as in the original. `fc_stride` writes out a
    stride of 1 for the second, `fc_std` is its filler, and `score_filler` says whether the third has a filler
    (pool3's has none, so it starts from zero).
    """

    source: str
    stride: int
    zoom: int
    fc_stride: bool
    fc_std: float = 0.001
    score_filler: bool = True


DATA = Branch("data", stride=8, zoom=1, fc_stride=True)
POOLS = {
    1: Branch("pool1", stride=4, zoom=2, fc_stride=False),
    2: Branch("pool2", stride=2, zoom=4, fc_stride=False),
    3: Branch("pool3", stride=1, zoom=8, fc_stride=True, score_filler=False),
    4: Branch("pool4", stride=1, zoom=8, fc_stride=True, fc_std=0.005),
}


def train_net(loss: str) -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.train_data(n, batch_size=30)
    _scores(n, training=True)
    n.comment("the sum of all scores")
    branches = [n[f"{branch.source}_ms"] for branch in (DATA, *POOLS.values())]
    n.fc_fusion = L.Eltwise(*branches, n[FC8], operation="SUM")

    n.comment("cross-entropy on every 8th pixel, where the scores are")
    common.shrink(n, "label_shrink", n.label, 8)
    common.cross_entropy(n, "loss", n.fc_fusion, n.label_shrink)
    if loss:
        n.comment("DenseCRF loss at full resolution")
        n.fc_fusion_interp = L.Interp(n.fc_fusion, zoom_factor=8)
        common.densecrf_loss(n, "fc_fusion_interp", xy=100, rgb=15)
    common.train_accuracy(n, "accuracy", n.fc_fusion, n.label_shrink)
    return n


def test_net() -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.test_data(n)
    _scores(n, training=False)
    n.comment("the sum of all scores at full resolution")
    scores = [n.data_ms]
    for branch in POOLS.values():
        n[f"{branch.source}_interp"] = L.Interp(n[f"{branch.source}_ms"], zoom_factor=branch.zoom)
        scores.append(n[f"{branch.source}_interp"])
    n.fc8_interp = L.Interp(n[FC8], zoom_factor=8)
    n.fc_fusion = L.Eltwise(*scores, n.fc8_interp, operation="SUM")
    common.test_accuracy(n, "accuracy", n.fc_fusion)
    return n


def _scores(n: NetSpec, training: bool) -> None:
    frozen = 0 if training else None
    _branch(n, DATA, training)
    x = n.data
    for stage in vgg.STAGES:
        x = vgg.stage(n, x, stage, frozen)
        if stage.number in POOLS:
            _branch(n, POOLS[stage.number], training)
    x = vgg.average_pool(n)
    vgg.head(n, x, FC8, dilation=12, rate=frozen, classifier_rate=frozen)


def _branch(n: NetSpec, branch: Branch, training: bool) -> None:
    """Two hidden layers of 128 channels and a classifier: `<source>_conv`, `<source>_fc`, `<source>_ms`."""
    source = branch.source
    rate = common.rates(1 if training else None)
    first = {"pad": 1, "kernel_size": 3, "stride": branch.stride if training else 1}
    second = {"kernel_size": 1, **({"stride": 1} if branch.fc_stride else {})}
    fill_second = training or branch is POOLS[4]  # the original test net has pool4's fillers, too

    x = n[source]
    for name, convolution, filler in (
        (f"{source}_conv", first, gaussian(0.001) if training else {}),
        (f"{source}_fc", second, gaussian(branch.fc_std) if fill_second else {}),
    ):
        n[name] = x = L.Convolution(x, **rate, num_output=128, **convolution, **filler)
        n[f"relu_{name}"] = x = L.ReLU(x, in_place=True)
        n[f"drop_{name}"] = x = L.Dropout(x, in_place=True, dropout_ratio=0.5)
    filler = gaussian(0.01) if training and branch.score_filler else {}
    n[f"{source}_ms"] = L.Convolution(x, **rate, num_output="${NUM_LABELS}", kernel_size=1, **filler)


_SCHEDULE: dict[str, Any] = {
    "lr_policy": "step",
    "gamma": 0.1,
    "base_lr": 0.001,
    "average_loss": 10,
    "display": 10,
}

SOLVERS = {
    "solver": common.solver("train", NET_ID, **_SCHEDULE, stepsize=2000, max_iter=6000),
    "solverwithdensecrfloss": common.solver(
        "trainwithdensecrfloss", NET_ID, **_SCHEDULE, stepsize=3000, max_iter=9000, seed=10000000
    ),
}
NETWORKS = (network(NAME, __name__, "a trained deeplab_largeFOV", train_net, test_net, SOLVERS),)
