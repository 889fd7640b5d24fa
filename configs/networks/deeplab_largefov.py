"""DeepLab-LargeFOV: the VGG trunk and one head with dilation 12."""

from __future__ import annotations

from rlossctl.configs.networks import common, vgg
from rlossctl.configs.networks.common import FC8
from rlossctl.configs.networks.network import network
from rlossctl.prototxt.netspec import L, NetSpec

NAME = "deeplab_largeFOV"
NET_ID = common.preset("NET_ID", NAME)


def train_net(loss: str) -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.train_data(n, batch_size=20)
    _score(n, rate=1, classifier_rate=10)

    n.comment("cross-entropy on every 8th pixel, where the scores are")
    common.shrink(n, "label_shrink", n.label, 8)
    if loss:
        n.softmax_loss = L.SoftmaxWithLoss(
            n[FC8],
            n.label_shrink,
            name="loss",
            loss_weight=1.0,
            include=common.TRAIN_ONLY,
            ignore_label=common.IGNORE_LABEL,
        )
    else:
        common.cross_entropy(n, "loss", n[FC8], n.label_shrink)
    if loss:
        n.comment("DenseCRF loss at full resolution")
        n.fc8_interp = L.Interp(n[FC8], zoom_factor=8)
        common.densecrf_loss(n, "fc8_interp", xy=100, rgb=15, ignore_label=False)
    common.train_accuracy(n, "accuracy", n[FC8], n.label_shrink)
    return n


def test_net() -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.test_data(n)
    _score(n, rate=None, classifier_rate=None)
    n.fc8_interp = L.Interp(n[FC8], zoom_factor=8)
    common.test_accuracy(n, "accuracy", n.fc8_interp)
    n.silence = L.Silence(n.label, n.fc8_interp, n.data_dim, ntop=0, include=common.TEST_ONLY)
    return n


def _score(n: NetSpec, rate: int | None, classifier_rate: int | None) -> None:
    vgg.trunk(n, rate)
    x = vgg.average_pool(n)
    vgg.head(n, x, FC8, dilation=12, rate=rate, classifier_rate=classifier_rate)


SOLVERS = {
    "solver": common.solver(
        "train", NET_ID, lr_policy="step", gamma=0.1, stepsize=3000, base_lr=0.001, display=10, max_iter=9000
    ),
    "solverwithdensecrfloss": common.solver(
        "trainwithdensecrfloss",
        NET_ID,
        lr_policy="step",
        gamma=0.1,
        stepsize=3000,
        base_lr=1e-4,
        display=10,
        max_iter=9000,
        seed=40,
    ),
}
NETWORKS = (network(NAME, __name__, "VGG-16: vgg16_20M.caffemodel", train_net, test_net, SOLVERS),)
