"""DeepLab on ResNet-101: one network applied at three scales; the maximum of the three scores counts.

The three copies share their weights by parameter name. Batch normalisation is frozen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rlossctl.configs.networks import common
from rlossctl.configs.networks.network import network
from rlossctl.prototxt.netspec import L, NetSpec, Top

NAME = "resnet-101"
NET_ID = common.preset("NET_ID", NAME)

SCALES = {"": "resolution 1", "_res05": "resolution 1/2", "_res075": "resolution 3/4"}
DILATIONS = (6, 12, 18, 24)
FC1 = f"fc1_{common.EXP}"


class Stage(NamedTuple):
    """A stage of residual blocks: `width` inner channels, four times as many outputs."""

    number: int
    blocks: tuple[str, ...]
    width: int
    stride: int
    dilation: int


STAGES = (
    Stage(2, ("a", "b", "c"), 64, 1, 1),
    Stage(3, ("a", *(f"b{i}" for i in range(1, 4))), 128, 2, 1),
    Stage(4, ("a", *(f"b{i}" for i in range(1, 23))), 256, 1, 2),
    Stage(5, ("a", "b", "c"), 512, 1, 4),
)


def train_net(loss: str) -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.train_data(n, batch_size=1, scale_factors=[0.5, 0.75, 1, 1.25, 1.5])
    _fused_score(n, training=True)

    n.comment("cross-entropy of the fused scores on every 8th pixel")
    common.shrink(n, "label_shrink", n.label, 8)
    _supervise(n, "", n.fc_fusion, n.label_shrink)
    if loss:
        n.comment("DenseCRF loss at full resolution")
        n.fc8_interp = L.Interp(n.fc_fusion, name="fc1_interp", zoom_factor=8)
        common.densecrf_loss(n, "fc8_interp", xy=80, rgb=13)

    n.comment("cross-entropy of each scale; scale 3/4 at the resolution of 1, scale 1/2 at its own")
    _supervise(n, "_res1", n[FC1], n.label_shrink)
    _supervise(n, "_res075", n[f"{FC1}_res075_interp"], n.label_shrink)
    common.shrink(n, "label_shrink16", n.label, 16)
    _supervise(n, "_res05", n[f"{FC1}_res05"], n.label_shrink16)
    return n


def test_net() -> NetSpec:
    n = NetSpec(NET_ID, header=__doc__)
    common.test_data(n)
    _fused_score(n, training=False)
    n.fc1_interp = L.Interp(n.fc_fusion, zoom_factor=8)
    common.test_accuracy(n, "fc1_accuracy", n.fc1_interp)
    n.silence = L.Silence(n.label, n.data_dim, ntop=0)
    return n


def _supervise(n: NetSpec, suffix: str, score: Top, label: Top) -> None:
    common.cross_entropy(n, f"loss{suffix}", score, label)
    common.train_accuracy(n, f"accuracy{suffix}", score, label)


def _fused_score(n: NetSpec, training: bool) -> None:
    n.comment("the image at the other scales")
    n.data_res05 = L.Interp(n.data, shrink_factor=2, pad_beg=0, pad_end=0)
    n.data_res075 = L.Interp(n.data, shrink_factor=4, zoom_factor=3, pad_beg=0, pad_end=0)
    features = {}
    for scale, title in SCALES.items():
        n.comment(title)
        features[scale] = _trunk(n, n[f"data{scale}"], scale)
    for scale, title in SCALES.items():
        n.comment(f"classifier at {title}: the sum of four branches")
        _classifier(n, features[scale], scale, training)

    n.comment("the maximum over the scales, at the resolution of scale 1")
    n[f"{FC1}_res05_interp"] = L.Interp(n[f"{FC1}_res05"], zoom_factor=2, pad_beg=0, pad_end=0)
    n[f"{FC1}_res075_interp"] = L.Interp(
        n[f"{FC1}_res075"], shrink_factor=3, zoom_factor=4, pad_beg=0, pad_end=0
    )
    scores = (n[FC1], n[f"{FC1}_res075_interp"], n[f"{FC1}_res05_interp"])
    n.fc_fusion = L.Eltwise(*scores, operation="MAX")


def _trunk(n: NetSpec, x: Top, scale: str) -> Top:
    x = _convolution(n, x, "conv1", "_conv1", scale, num_output=64, kernel_size=7, pad=3, stride=2)
    n[f"conv1_relu{scale}"] = x = L.ReLU(x, in_place=True)
    n[f"pool1{scale}"] = x = L.Pooling(x, pool="MAX", kernel_size=3, stride=2, pad=1)
    for stage in STAGES:
        for block in stage.blocks:
            x = _block(n, x, stage, block, scale)
    return x


def _block(n: NetSpec, x: Top, stage: Stage, block: str, scale: str) -> Top:
    """A bottleneck block; the first of a stage projects its input and takes the stage's stride."""
    name = f"{stage.number}{block}"
    first = block == stage.blocks[0]
    point = {"kernel_size": 1, "pad": 0, "stride": 1}
    entry = {**point, "stride": stage.stride if first else 1}
    spatial = {"kernel_size": 3, "pad": stage.dilation, "stride": 1}
    if stage.dilation > 1:
        spatial["dilation"] = stage.dilation

    def branch(bottom: Top, which: str, **convolution: int) -> Top:
        return _convolution(
            n, bottom, f"res{name}_branch{which}", f"{name}_branch{which}", scale, **convolution
        )

    def relu(bottom: Top, of: str) -> Top:
        n[f"{of}_relu{scale}"] = top = L.ReLU(bottom, in_place=True)
        return top

    shortcut = branch(x, "1", num_output=4 * stage.width, **entry) if first else x
    y = relu(branch(x, "2a", num_output=stage.width, **entry), f"res{name}_branch2a")
    y = relu(branch(y, "2b", num_output=stage.width, **spatial), f"res{name}_branch2b")
    y = branch(y, "2c", num_output=4 * stage.width, **point)
    n[f"res{name}{scale}"] = L.Eltwise(shortcut, y)
    return relu(n[f"res{name}{scale}"], f"res{name}")


def _convolution(n: NetSpec, x: Top, name: str, norm: str, scale: str, **convolution: int) -> Top:
    """A convolution without bias, then frozen batch normalisation and scale."""
    n[f"{name}{scale}"] = x = L.Convolution(
        x, param={"name": f"{name}_0", "lr_mult": 1, "decay_mult": 1}, bias_term=False, **convolution
    )
    n[f"bn{norm}{scale}"] = x = L.BatchNorm(
        x, in_place=True, param=_frozen(f"bn{norm}", 3), use_global_stats=True
    )
    n[f"scale{norm}{scale}"] = x = L.Scale(x, in_place=True, param=_frozen(f"scale{norm}", 2), bias_term=True)
    return x


def _frozen(name: str, count: int) -> list[dict[str, object]]:
    return [{"name": f"{name}_{index}", "lr_mult": 0} for index in range(count)]


def _classifier(n: NetSpec, x: Top, scale: str, training: bool) -> None:
    score = f"{FC1}{scale}"
    branches = []
    for index, dilation in enumerate(DILATIONS):
        weight: dict[str, object] = {"name": f"{FC1}_c{index}_w"}
        bias: dict[str, object] = {"name": f"{FC1}_c{index}_b"}
        if training:
            weight |= {"lr_mult": 10, "decay_mult": 1}
            bias |= {"lr_mult": 20, "decay_mult": 0}
        n[f"{score}_c{index}"] = top = L.Convolution(
            x,
            param=[weight, bias],
            num_output="${NUM_LABELS}",
            kernel_size=3,
            pad=dilation,
            dilation=dilation,
            **(common.gaussian(0.01) if training else {}),
        )
        branches.append(top)
    n[score] = L.Eltwise(*branches, operation="SUM")


_SCHEDULE: dict[str, Any] = {
    "iter_size": 10,
    "lr_policy": "poly",
    "power": 0.9,
    "average_loss": 20,
    "display": 20,
}

SOLVERS = {
    "solver": common.solver("train", NET_ID, **_SCHEDULE, base_lr=2.5e-4, max_iter=20000),
    "solverwithdensecrfloss": common.solver(
        "trainwithdensecrfloss", NET_ID, **_SCHEDULE, base_lr=1.5e-4, max_iter=10000, seed=100000
    ),
}
NETWORKS = (network(NAME, __name__, "DeepLab's init.caffemodel", train_net, test_net, SOLVERS),)
