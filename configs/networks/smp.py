"""Unet and DeepLab v3+ of segmentation_models.pytorch (smp) on ResNets, with its default settings.

Layers are named after its modules, so `rlossctl convert`, `eval` and `predict` read its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.network import Network
from rlossctl.configs.networks.program import SEGMENTATION, program
from rlossctl.configs.networks.torch_style import (
    classifier,
    conv_norm,
    convolution,
    dilated,
    dropout,
    max_pool,
    norm,
    relu,
    resize,
    scaled,
)
from rlossctl.prototxt.netspec import L, NetSpec, Top

ENCODER = "encoder."
WIDTHS = (256, 128, 64, 32, 16)
RATES = (12, 24, 36)
WIDTH = 256
LOW = 48  # channels of the features at stride 4 in DeepLab v3+
HEAD = "segmentation_head.0"


def _unet(n: NetSpec, depth: int) -> None:
    stem = conv_norm(n, scaled(n, n.data), f"{ENCODER}conv1", f"{ENCODER}bn1", 64, **dilated(7, 1, 2))
    *copies, x = resnets.stages(n, max_pool(n, stem, f"{ENCODER}maxpool"), depth, ENCODER)
    inside = 512 * (1 if depth < 50 else 4)
    for number, width in enumerate(WIDTHS):
        name = f"decoder.blocks.{number}"
        x = _doubled(n, x, name, inside)
        if number < 4:
            n[f"{name}.concat"] = x = L.Concat(x, [stem, *copies][3 - number])
        for part in ("conv1", "conv2"):
            x = conv_norm(n, x, f"{name}.{part}.0", f"{name}.{part}.1", width, **dilated(3))
        inside = width
    convolution(n, x, HEAD, "${NUM_LABELS}", **dilated(3), bias_term=True, top="score")


def _doubled(n: NetSpec, x: Top, name: str, channels: int) -> Top:
    """Each pixel four times: a fixed deconvolution of ones, channel by channel."""
    n[f"{name}.zoom"] = L.Deconvolution(
        x,
        num_output=channels,
        group=channels,
        bias_term=False,
        kernel_size=2,
        stride=2,
        param=[{"lr_mult": 0, "decay_mult": 0}],
        weight_filler={"type": "constant", "value": 1},
    )
    return n[f"{name}.zoom"]


def _deeplab(n: NetSpec, depth: int) -> None:
    x, low = resnets.trunk(n, scaled(n, n.data), depth, ENCODER, (1, 2, 2, 1), (1, 1, 1, 2))
    x = _pyramid(n, x)
    x = resize(n, x, "decoder.up", low)
    low = conv_norm(n, low, "decoder.block1.0", "decoder.block1.1", LOW, kernel_size=1)
    n["decoder.concat"] = x = L.Concat(x, low)
    x = _separable(n, x, "decoder.block2.0", WIDTH + LOW, "decoder.block2.1")
    resize(n, classifier(n, x, HEAD), "score", n.data)


def _pyramid(n: NetSpec, x: Top) -> Top:
    name = "decoder.aspp.0.convs"
    branches = [conv_norm(n, x, f"{name}.0.0", f"{name}.0.1", WIDTH, kernel_size=1)]
    for number, rate in enumerate(RATES, start=1):
        n.comment(f"ASPP, dilation {rate}")
        branches.append(_separable(n, x, f"{name}.{number}.0", 2048, f"{name}.{number}.1", rate))
    n.comment("ASPP, the mean of the image, at every pixel")
    n[f"{name}.4.0"] = pool = L.Pooling(x, pool="AVE", global_pooling=True)
    pool = conv_norm(n, pool, f"{name}.4.1", f"{name}.4.2", WIDTH, kernel_size=1)
    branches.append(resize(n, pool, f"{name}.4.zoom", x, aligned=False))
    n["decoder.aspp.0.concat"] = x = L.Concat(*branches)
    x = conv_norm(n, x, "decoder.aspp.0.project.0", "decoder.aspp.0.project.1", WIDTH, kernel_size=1)
    x = dropout(n, x, "decoder.aspp.0.project.3", 0.5)
    return _separable(n, x, "decoder.aspp.1", WIDTH, "decoder.aspp.2")


def _separable(n: NetSpec, x: Top, name: str, inside: int, bn: str, rate: int = 1) -> Top:
    """A depthwise 3 x 3 convolution, a 1 x 1 convolution, norm and ReLU."""
    x = convolution(n, x, f"{name}.0", inside, **dilated(3, rate, group=inside))
    x = norm(n, convolution(n, x, f"{name}.1", WIDTH, kernel_size=1), bn)
    return relu(n, x, f"{bn}_relu")


def _network(name: str, about: str, depth: int, scores: Callable[[NetSpec, int], None]) -> Network:
    return program(
        f"{name}_resnet{depth}_smp",
        f"{about} on ResNet-{depth}, as in segmentation_models.pytorch, which has no training program: the\n"
        "settings are pytorch-segmentation's.",
        __name__,
        lambda n: scores(n, depth),
        size=512,
        crop=384,
        training=SEGMENTATION,
        start=f"segmentation_models.pytorch's checkpoint; torchvision's resnet{depth}",
        backbone=(ENCODER,),
    )


NETWORKS = (
    *(_network("unet", "Unet", depth, _unet) for depth in (18, 34, 50, 101)),
    *(_network("deeplabv3plus", "DeepLab v3+", depth, _deeplab) for depth in (50, 101)),
)
