"""A network of a program for PyTorch: the data, losses and solvers around its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlossctl.configs.networks import common, torch_style
from rlossctl.configs.networks.network import Network, network
from rlossctl.prototxt.netspec import L, NetSpec

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
        name, module, start: as of a Network.
        about: the header of the prototxts.
        scores: adds the layers from the image to the blob "score", which has its size.
        crop: side of the training crops, and to which test images are padded.
        auxiliary: blobs at the image's size, and the weight of their cross-entropy in training.
    """
    weights = auxiliary or {}

    def train_net(densecrf: bool) -> NetSpec:
        n = NetSpec("${NET_ID}", header=about)
        common.train_data(
            n, batch_size=12, crop_size=crop, mean_value=torch_style.MEAN_BGR, scale_factors=SCALES
        )
        scores(n)
        n.comment("cross-entropy at full resolution, as scribbles are thin")
        common.cross_entropy(n, "loss", n.score, n.label)
        for blob, weight in weights.items():
            common.cross_entropy(n, f"{blob}_loss", n[blob], n.label, loss_weight=weight)
        if densecrf:
            _densecrf_loss(n)
        common.train_accuracy(n, "accuracy", n.score, n.label)
        return n

    def test_net() -> NetSpec:
        n = NetSpec("${NET_ID}", header=about)
        common.test_data(n, crop_size=crop, mean_value=torch_style.MEAN_BGR)
        scores(n)
        common.test_accuracy(n, "accuracy", n.score)
        n.silence = L.Silence(n.data_dim, *(n[blob] for blob in weights), ntop=0)
        return n

    return network(name, module, start, train_net, test_net, SOLVERS)


def _densecrf_loss(n: NetSpec) -> None:
    n.comment("DenseCRF loss on every second pixel: deviations are in pixels of that image")
    n.data_half = L.Interp(n.data, shrink_factor=2)
    n.score_half = L.Interp(n.score, shrink_factor=2)
    n.score_half_softmax = L.Softmax(n.score_half)
    n.densecrf_loss = L.DenseCRFLoss(
        n.data_half,
        n.score_half_softmax,
        propagate_down=[False, True],
        loss_weight="${DENSECRF_LOSS_WEIGHT}",
        bi_xy_std="${BI_XY_STD}",
        bi_rgb_std="${BI_RGB_STD}",
    )


_SCHEDULE: dict[str, Any] = {
    "lr_policy": "poly",
    "power": 0.9,
    "average_loss": 20,
    "display": 20,
    "base_lr": 0.007,
    "max_iter": 50000,
}
SOLVERS = {
    "solver": common.solver("train", **_SCHEDULE),
    "solverwithdensecrfloss": common.solver("trainwithdensecrfloss", **_SCHEDULE, seed=1),
}
