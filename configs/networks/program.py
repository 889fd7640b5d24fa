"""A network from a PyTorch program: the data, losses and solvers around its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlossctl.configs.networks import common, torch_style
from rlossctl.configs.networks.common import preset
from rlossctl.configs.networks.network import Network, network
from rlossctl.prototxt.netspec import L, NetSpec

EXP = preset("EXP", "pascal_scribble")  # no layer is named after it
SCALES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]


def program(
    name: str,
    about: str,
    module: str,
    scores: Callable[[NetSpec], object],
    *,
    crop: int,
    start: str = "pytorch-segmentation's checkpoint",
    auxiliary: Mapping[str, float] | None = None,
) -> Network:
    """One network of a program.

    Args:
        name, module, start: see Network.
        about: the header of the prototxts.
        scores: adds the layers from the image to the blob "score", which has the size of the image.
        crop: side of the training crops; test images are padded to it.
        auxiliary: blobs of the image's size, and the weight of their cross-entropy in training.
    """
    weights = auxiliary or {}
    net_id = preset("NET_ID", name)

    def train_net(densecrf: bool) -> NetSpec:
        n = NetSpec(net_id, header=about)
        common.train_data(
            n,
            batch_size=preset("BATCH_SIZE", 12),
            exp=EXP,
            crop_size=preset("CROP_SIZE", crop),
            mean_value=torch_style.MEAN_BGR,
            scale_factors=SCALES,
        )
        scores(n)
        n.comment("cross-entropy at full resolution, because scribbles are thin")
        common.cross_entropy(n, "loss", n.score, n.label)
        for blob, weight in weights.items():
            common.cross_entropy(n, f"{blob}_loss", n[blob], n.label, loss_weight=weight)
        if densecrf:
            _densecrf_loss(n)
        common.train_accuracy(n, "accuracy", n.score, n.label)
        return n

    def test_net() -> NetSpec:
        n = NetSpec(net_id, header=about)
        common.test_data(n, exp=EXP, crop_size=preset("TEST_SIZE", crop), mean_value=torch_style.MEAN_BGR)
        scores(n)
        common.test_accuracy(n, "accuracy", n.score)
        n.silence = L.Silence(n.data_dim, *(n[blob] for blob in weights), ntop=0)
        return n

    return network(name, module, start, train_net, test_net, _solvers(net_id))


def _densecrf_loss(n: NetSpec) -> None:
    """As in rloss's PyTorch program, whose deviation of 100 pixels is 50 in the half-size image."""
    n.comment("DenseCRF loss on every second pixel: deviations are in pixels of that image")
    n.data_half = L.Interp(n.data, shrink_factor=2)
    n.score_half = L.Interp(n.score, shrink_factor=2)
    n.score_half_softmax = L.Softmax(n.score_half)
    n.densecrf_loss = L.DenseCRFLoss(
        n.data_half,
        n.score_half_softmax,
        propagate_down=[False, True],
        loss_weight=preset("DENSECRF_LOSS_WEIGHT", "2e-9"),
        bi_xy_std=preset("BI_XY_STD", 50),
        bi_rgb_std=preset("BI_RGB_STD", 15),
    )


_SCHEDULE: dict[str, Any] = {
    "lr_policy": "poly",
    "power": 0.9,
    "average_loss": 20,
    "display": 20,
    "base_lr": preset("BASE_LR", 0.007),
    "max_iter": preset("MAX_ITER", 50000),
}


def _solvers(net_id: str) -> dict[str, dict[str, object]]:
    return {
        "solver": common.solver("train", net_id, exp=EXP, **_SCHEDULE),
        "solverwithdensecrfloss": common.solver(
            "trainwithdensecrfloss", net_id, exp=EXP, **_SCHEDULE, seed=1
        ),
    }
