"""torchvision's networks for segmentation: FCN, DeepLab v3 and LR-ASPP.

Layers are named after its modules, so `rlossctl convert`, `eval` and `predict` read its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rlossctl.configs.networks import mobilenetv3, resnets
from rlossctl.configs.networks.common import preset
from rlossctl.configs.networks.network import Network
from rlossctl.configs.networks.program import Training, epochs, program
from rlossctl.configs.networks.torch_style import (
    classifier,
    conv_norm,
    convolution,
    dilated,
    dropout,
    resize,
    scaled,
)
from rlossctl.prototxt.netspec import L, NetSpec, Top

BACKBONE = "backbone."
RATES = (12, 24, 36)
WIDTH = 256
INNER = 128  # channels of LR-ASPP's head
TRAINING = Training(
    about="""As torchvision's script trains by default: 30 epochs of batches of 8, one rate for all. It
also trains an auxiliary classifier, which checkpoints may have and nets leave out.""",
    crop=480,
    batch=8,
    base_lr=0.01,
    backbone=1,
    rest=1,
    weight_decay=0.0001,
    max_iter=epochs(30, 8),
    augment={"base_size": preset("BASE_SIZE", 520), "scale_min": 0.5, "scale_max": 2},
)
Trunk = Callable[[NetSpec, Top], tuple[Top, int]]
Head = Callable[[NetSpec, Top, int], Top]


def _resnet(n: NetSpec, x: Top, depth: int) -> tuple[Top, int]:
    """A ResNet of stride 8: a dilated stage's first block keeps the rate of the previous stage."""
    third, fourth = resnets.BLOCKS[depth][2:]
    dilations = (1, 1, (1, *[2] * (third - 1)), (2, *[4] * (fourth - 1)))
    stem = resnets.stem(n, x, BACKBONE)
    return resnets.stages(n, stem, depth, BACKBONE, (1, 2, 1, 1), dilations)[-1], 2048


def _mobilenet(n: NetSpec, x: Top) -> tuple[Top, int]:
    return mobilenetv3.trunk(n, x, BACKBONE)[0], mobilenetv3.FEATURES


def _fcn(n: NetSpec, x: Top, channels: int) -> Top:
    x = conv_norm(n, x, "classifier.0", "classifier.1", channels // 4, **dilated(3))
    return classifier(n, dropout(n, x, "classifier.3", 0.1), "classifier.4")


def _deeplab(n: NetSpec, x: Top, channels: int) -> Top:
    branches = []
    for number, rate in enumerate((0, *RATES)):
        n.comment(f"ASPP, branch {number}: " + (f"dilation {rate}" if rate else "1 x 1"))
        name = f"classifier.0.convs.{number}"
        fields = dilated(3, rate) if rate else {"kernel_size": 1}
        branches.append(conv_norm(n, x, f"{name}.0", f"{name}.1", WIDTH, **fields))
    n.comment("ASPP, the mean of the image, at every pixel")
    name = f"classifier.0.convs.{len(branches)}"
    n[f"{name}.0"] = pool = L.Pooling(x, pool="AVE", global_pooling=True)
    pool = conv_norm(n, pool, f"{name}.1", f"{name}.2", WIDTH, kernel_size=1)
    branches.append(resize(n, pool, f"{name}.zoom", x, aligned=False))
    n["classifier.0.concat"] = x = L.Concat(*branches)
    x = conv_norm(n, x, "classifier.0.project.0", "classifier.0.project.1", WIDTH, kernel_size=1)
    x = dropout(n, x, "classifier.0.project.3", 0.5)
    x = conv_norm(n, x, "classifier.1", "classifier.2", WIDTH, **dilated(3))
    return classifier(n, x, "classifier.4")


def _scores(n: NetSpec, trunk: Trunk, head: Head) -> None:
    x, channels = trunk(n, scaled(n, n.data))
    resize(n, head(n, x, channels), "score", n.data, aligned=False)


def _lraspp_scores(n: NetSpec) -> None:
    high, low = mobilenetv3.trunk(n, scaled(n, n.data), BACKBONE)
    x = conv_norm(n, high, "classifier.cbr.0", "classifier.cbr.1", INNER, kernel_size=1)
    n.comment("each channel times a factor from all channels' means")
    n["classifier.scale.0"] = gate = L.Pooling(high, pool="AVE", global_pooling=True)
    gate = convolution(n, gate, "classifier.scale.1", INNER, kernel_size=1)
    n["classifier.scale.2"] = gate = L.Sigmoid(gate)
    n["classifier.scale.flat"] = gate = L.Flatten(gate)
    n["classifier.scale"] = x = L.Scale(x, gate, axis=0)
    x = resize(n, x, "classifier.zoom", low, aligned=False)
    x, low = classifier(n, x, "classifier.high_classifier"), classifier(n, low, "classifier.low_classifier")
    n["classifier.sum"] = x = L.Eltwise(low, x, operation="SUM")
    resize(n, x, "score", n.data, aligned=False)


def _network(name: str, about: str, scores: Callable[[NetSpec], None], start: str) -> Network:
    return program(
        f"{name}_torchvision",
        f"{about}, as in torchvision.",
        __name__,
        scores,
        size=520,
        training=TRAINING,
        start=start,
        backbone=(BACKBONE,),
    )


_OWN = "torchvision's checkpoint"
NETWORKS = (
    *(
        _network(
            f"{name}_resnet{depth}",
            f"{about} on ResNet-{depth}, output stride 8",
            partial(_scores, trunk=partial(_resnet, depth=depth), head=head),
            f"{_OWN}; torchvision's resnet{depth}",
        )
        for name, about, head in (("fcn", "FCN", _fcn), ("deeplabv3", "DeepLab v3", _deeplab))
        for depth in (50, 101)
    ),
    _network(
        "deeplabv3_mobilenet_v3_large",
        "DeepLab v3 on MobileNetV3-Large, output stride 16",
        partial(_scores, trunk=_mobilenet, head=_deeplab),
        _OWN,
    ),
    _network(
        "lraspp_mobilenet_v3_large", "LR-ASPP on MobileNetV3-Large, output stride 16", _lraspp_scores, _OWN
    ),
)
