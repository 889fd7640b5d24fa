"""Unet, FPN, PSPNet and DeepLab v3+ of segmentation_models.pytorch (smp) on ResNets, with default settings.

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
    relu,
    resize,
    scaled,
    separable,
)
from rlossctl.prototxt.netspec import L, NetSpec, Top

ENCODER = "encoder."
WIDTHS = (256, 128, 64, 32, 16)
RATES = (12, 24, 36)
BINS = (1, 2, 3, 6)
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


def _fpn(n: NetSpec, depth: int) -> None:
    """Sums from the coarsest stage to the finest, each brought to stride 4, and the sum of these."""
    stages = resnets.stages(n, resnets.stem(n, scaled(n, n.data), ENCODER), depth, ENCODER)
    levels = [convolution(n, stages[3], "decoder.p5", WIDTH, kernel_size=1, bias_term=True)]
    for number in (4, 3, 2):
        name = f"decoder.p{number}"
        skip = convolution(n, stages[number - 2], f"{name}.skip_conv", WIDTH, kernel_size=1, bias_term=True)
        n[name] = L.Eltwise(_doubled(n, levels[-1], name, WIDTH), skip, operation="SUM")
        levels.append(n[name])
    parts = []
    for number, x in enumerate(levels):
        n.comment(f"level {5 - number}, to stride 4")
        for step, finer in enumerate(levels[number + 1 :] or [x]):
            name = f"decoder.seg_blocks.{number}.block.{step}"
            x = _grouped(n, x, f"{name}.block")
            x = x if number == 3 else resize(n, x, name, finer)
        parts.append(x)
    n["decoder.merge"] = x = L.Eltwise(*parts, operation="SUM")
    x = dropout(n, x, "decoder.dropout", 0.2, whole_channels=True)
    resize(n, classifier(n, x, HEAD), "score", n.data)


def _grouped(n: NetSpec, x: Top, name: str) -> Top:
    """A 3 x 3 convolution, normalised over groups of channels, and ReLU."""
    x = convolution(n, x, f"{name}.0", 128, **dilated(3))
    n[f"{name}.1"] = x = L.GroupNorm(x, in_place=True)
    return relu(n, x, f"{name}.2")


def _pspnet(n: NetSpec, depth: int) -> None:
    """On the encoder's first two stages; the level of one bin has no norm."""
    *_, x = resnets.stages(n, resnets.stem(n, scaled(n, n.data), ENCODER), depth, ENCODER, (1, 2))
    width = 32 * (1 if depth < 50 else 4)
    levels = []
    for number, size in enumerate(BINS):
        n.comment(f"pyramid, level {number + 1}: the means of {size} x {size} bins")
        name = f"decoder.psp.blocks.{number}.pool"
        n[f"{name}.0"] = level = L.AdaptivePooling(x, output_size=size)
        if size == 1:
            level = convolution(n, level, f"{name}.1.0", width, kernel_size=1, bias_term=True)
            level = relu(n, level, f"{name}.1.2")
        else:
            level = conv_norm(n, level, f"{name}.1.0", f"{name}.1.1", width, kernel_size=1)
        levels.append(resize(n, level, f"{name}.zoom", x))
    n["decoder.psp.concat"] = x = L.Concat(*levels, x)
    x = conv_norm(n, x, "decoder.conv.0", "decoder.conv.1", 512, kernel_size=1)
    x = dropout(n, x, "decoder.dropout", 0.2, whole_channels=True)
    resize(n, classifier(n, x, HEAD, **dilated(3)), "score", n.data)


def _deeplab(n: NetSpec, depth: int) -> None:
    x, low = resnets.trunk(n, scaled(n, n.data), depth, ENCODER, (1, 2, 2, 1), (1, 1, 1, 2))
    x = _pyramid(n, x)
    x = resize(n, x, "decoder.up", low)
    low = conv_norm(n, low, "decoder.block1.0", "decoder.block1.1", LOW, kernel_size=1)
    n["decoder.concat"] = x = L.Concat(x, low)
    x = separable(n, x, "decoder.block2.0", "decoder.block2.1", (WIDTH + LOW, WIDTH))
    resize(n, classifier(n, x, HEAD), "score", n.data)


def _pyramid(n: NetSpec, x: Top) -> Top:
    name = "decoder.aspp.0.convs"
    branches = [conv_norm(n, x, f"{name}.0.0", f"{name}.0.1", WIDTH, kernel_size=1)]
    for number, rate in enumerate(RATES, start=1):
        n.comment(f"ASPP, dilation {rate}")
        branches.append(separable(n, x, f"{name}.{number}.0", f"{name}.{number}.1", (2048, WIDTH), rate))
    n.comment("ASPP, the mean of the image, at every pixel")
    n[f"{name}.4.0"] = pool = L.Pooling(x, pool="AVE", global_pooling=True)
    pool = conv_norm(n, pool, f"{name}.4.1", f"{name}.4.2", WIDTH, kernel_size=1)
    branches.append(resize(n, pool, f"{name}.4.zoom", x, aligned=False))
    n["decoder.aspp.0.concat"] = x = L.Concat(*branches)
    x = conv_norm(n, x, "decoder.aspp.0.project.0", "decoder.aspp.0.project.1", WIDTH, kernel_size=1)
    x = dropout(n, x, "decoder.aspp.0.project.3", 0.5)
    return separable(n, x, "decoder.aspp.1", "decoder.aspp.2", (WIDTH, WIDTH))


def _network(
    name: str, about: str, depth: int, scores: Callable[[NetSpec, int], None], whole: bool = True
) -> Network:
    """`whole`: all of the encoder is used, so that a classifier fits it."""
    start = "segmentation_models.pytorch's checkpoint"
    return program(
        f"{name}_resnet{depth}_smp",
        f"{about} on ResNet-{depth}, as in segmentation_models.pytorch, which has no training program: the\n"
        "settings are pytorch-segmentation's.",
        __name__,
        lambda n: scores(n, depth),
        size=512,
        crop=384,
        training=SEGMENTATION,
        start=f"{start}; torchvision's resnet{depth}" if whole else start,
        backbone=(ENCODER,),
    )


NETWORKS = (
    *(_network("unet", "Unet", depth, _unet) for depth in (18, 34, 50, 101)),
    *(_network("fpn", "FPN", depth, _fpn) for depth in (18, 34, 50, 101)),
    *(_network("pspnet", "PSPNet", depth, _pspnet, whole=False) for depth in (18, 34, 50, 101)),
    *(_network("deeplabv3plus", "DeepLab v3+", depth, _deeplab) for depth in (50, 101)),
)
