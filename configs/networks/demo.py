"""The net of `rlossctl demo`: trains in a few minutes of CPU time on generated images of 97 x 129 pixels."""

from __future__ import annotations

from rlossctl.configs.networks import scratch
from rlossctl.configs.networks.network import network
from rlossctl.prototxt.netspec import NetSpec

DESIGN = scratch.Design(
    name="demo",
    about=__doc__,
    widths=(16, 48),
    dilations=(1, 2, 4),
    num_output="${NUM_LABELS}",
    batch_size=8,
    train_crop=97,
    test_size=(97, 129),
    weight="5e-6",
)


def train_net(loss: str) -> NetSpec:
    return scratch.train_net(DESIGN, loss)


def test_net() -> NetSpec:
    return scratch.test_net(DESIGN)


SOLVERS = {
    "solver": scratch.solver("train", base_lr=0.003, max_iter=500, snapshot=100, seed=1),
    "solverwithdensecrfloss": scratch.solver(
        "trainwithdensecrfloss", base_lr=0.002, max_iter=300, snapshot=100, seed=2
    ),
}
NETWORKS = (network("demo", __name__, "", train_net, test_net, SOLVERS),)
