"""DeepLab with atrous spatial pyramid pooling: the VGG trunk and four heads whose scores are added."""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks import common, vgg
from rlossctl.configs.networks.common import FC8
from rlossctl.configs.networks.network import network
from rlossctl.prototxt.netspec import L, NetSpec

NAME = "deeplab_vgg16"
NET_ID = common.preset("NET_ID", NAME)

DILATIONS = (6, 12, 18, 24)


def train_net(loss: str) -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.train_data(n, batch_size=10, data_dim=True)
    _score(n, rate=1, classifier_rate=10)

    n.comment("cross-entropy on every 8th pixel, where the scores are")
    common.shrink(n, "label_shrink", n.label, 8)
    if loss:
        n.comment("DenseCRF loss at full resolution")
        n.fc8_interp = L.Interp(n[FC8], zoom_factor=8)
        common.densecrf_loss(n, "fc8_interp", xy=100, rgb=15)
    common.cross_entropy(n, "loss", n[FC8], n.label_shrink)
    common.train_accuracy(n, "accuracy", n[FC8], n.label_shrink)
    n.silence = L.Silence(n.data_dim, ntop=0)
    return n


def test_net() -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.test_data(n)
    _score(n, rate=None, classifier_rate=None)
    n.fc8_interp = L.Interp(n[FC8], zoom_factor=8)
    common.test_accuracy(n, "accuracy", n.fc8_interp)
    return n


def _score(n: NetSpec, rate: int | None, classifier_rate: int | None) -> None:
    x = vgg.trunk(n, rate)
    branches = []
    for number, dilation in enumerate(DILATIONS, start=1):
        n.comment(f"branch {number}: dilation {dilation}")
        branches.append(
            vgg.head(
                n,
                x,
                f"{FC8}_{number}",
                dilation=dilation,
                rate=rate,
                classifier_rate=classifier_rate,
                suffix=f"_{number}",
            )
        )
    n.comment("the sum of the branches")
    n[FC8] = L.Eltwise(*branches, operation="SUM")


_SCHEDULE: dict[str, Any] = {"lr_policy": "poly", "power": 0.9, "average_loss": 20, "display": 20}

SOLVERS = {
    "solver": common.solver("train", NET_ID, **_SCHEDULE, base_lr=1e-3, max_iter=20000),
    "solverwithdensecrfloss": common.solver(
        "trainwithdensecrfloss", NET_ID, **_SCHEDULE, base_lr=5e-4, max_iter=10000
    ),
}
NETWORKS = (network(NAME, __name__, "DeepLab's init.caffemodel", train_net, test_net, SOLVERS),)
