"""CamVid (360 x 480, 11 classes): trains from random weights in about 15 minutes on two CPU cores."""

from __future__ import annotations

from rlossctl.configs.networks import scratch
from rlossctl.configs.networks.network import network
from rlossctl.prototxt.netspec import NetSpec

DESIGN = scratch.Design(
    name="camvid",
    about=__doc__,
    widths=(24, 48, 96),
    dilations=(1, 2, 4, 8),
    num_output=11,
    batch_size=6,
    train_crop=185,
    test_size=(361, 481),
    weight="1.5e-6",
)


def train_net(loss: str) -> NetSpec:
    return scratch.train_net(DESIGN, loss)


def test_net() -> NetSpec:
    return scratch.test_net(DESIGN)


SOLVERS = {
    "solver": scratch.solver("train", base_lr=0.002, max_iter=4000, snapshot=500, seed=1),
    "solverwithdensecrfloss": scratch.solver(
        "trainwithdensecrfloss", base_lr=0.0005, max_iter=1500, snapshot=500, seed=2
    ),
}
NETWORKS = (network("camvid", __name__, "", train_net, test_net, SOLVERS),)
