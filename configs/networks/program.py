"""A network of a program for PyTorch: the data, losses and solvers around its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from networks import common, torch_style

from rlossctl.prototxt.netspec import L, NetSpec

SCALES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]


@dataclass(frozen=True)
class Network:
    """One network, as configs/make.py writes it.

    Attributes:
        folder: in configs/.
        about: the header of the prototxts.
        module: the file of networks/ that defines it.
        scores: adds the layers from the image to the blob "score", which has its size.
        crop: side of the training crops, and to which test images are padded.
        auxiliary: blobs at the image's size, and the weight of their cross-entropy in training.
    """

    folder: str
    about: str
    module: str
    scores: Callable[[NetSpec], object]
    crop: int
    auxiliary: Mapping[str, float] = field(default_factory=dict)

    @property
    def FOLDER(self) -> str:
        return self.folder

    @property
    def __name__(self) -> str:
        return f"networks.{self.module}"

    @property
    def SOLVERS(self) -> dict[str, dict[str, object]]:
        return SOLVERS

    def train_net(self, densecrf: bool) -> NetSpec:
        n = NetSpec("${NET_ID}", header=self.about)
        common.train_data(
            n, batch_size=12, crop_size=self.crop, mean_value=torch_style.MEAN_BGR, scale_factors=SCALES
        )
        self.scores(n)
        n.comment("cross-entropy at full resolution, as scribbles are thin")
        common.cross_entropy(n, "loss", n.score, n.label)
        for name, weight in self.auxiliary.items():
            common.cross_entropy(n, f"{name}_loss", n[name], n.label, loss_weight=weight)
        if densecrf:
            _densecrf_loss(n)
        common.train_accuracy(n, "accuracy", n.score, n.label)
        return n

    def test_net(self) -> NetSpec:
        n = NetSpec("${NET_ID}", header=self.about)
        common.test_data(n, crop_size=self.crop, mean_value=torch_style.MEAN_BGR)
        self.scores(n)
        common.test_accuracy(n, "accuracy", n.score)
        n.silence = L.Silence(n.data_dim, *(n[name] for name in self.auxiliary), ntop=0)
        return n


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


_SCHEDULE = {
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
