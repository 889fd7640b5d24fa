"""UNet: four poolings and four deconvolutions, with a skip connection at each level; and its variant on a
ResNet-50.

These are pytorch-segmentation's networks, layer by layer. The first is for sizes 16k, which need no cropping.
`rlossctl convert` reads their checkpoints (docs/import.md).
"""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import (
    HEAD_RATE,
    classifier,
    conv_norm,
    convolution,
    dilated,
    resize,
    scaled,
)
from rlossctl.prototxt.netspec import L, NetSpec, Top

WIDTHS = (64, 128, 256, 512)


def _scores(n: NetSpec) -> None:
    x, copies = scaled(n, n.data), []
    for level, width in enumerate(WIDTHS, start=1):
        x = _pair(n, x, f"down{level}.down_conv", width)
        copies.append(x)
        n[f"down{level}.pool"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    x = _pair(n, x, "middle_conv", 1024, bias_term=True)
    for level, (width, copy) in enumerate(zip(WIDTHS[::-1], copies[::-1], strict=True), start=1):
        name = f"up{level}"
        n[f"{name}.up"] = x = L.Deconvolution(
            x, num_output=width, kernel_size=2, stride=2, weight_filler={"type": "msra"}
        )
        n[f"{name}.concat"] = x = L.Concat(copy, x)
        x = _pair(n, x, f"{name}.up_conv", width)
    convolution(n, x, "final_conv", "${NUM_LABELS}", kernel_size=1, bias_term=True, top="score")


def _pair(n: NetSpec, x: Top, name: str, width: int, **fields: Any) -> Top:
    """Two 3 x 3 convolutions."""
    for index in (0, 3):
        x = conv_norm(n, x, f"{name}.{index}", f"{name}.{index + 1}", width, **dilated(3), **fields)
    return x


def _resnet_scores(n: NetSpec) -> None:
    """The decoder has no ReLU: each step is a convolution and a deconvolution to twice the size."""
    first, second, third, x = resnets.encoding(n, scaled(n, n.data), 50, "backbone.")
    for number, widths, copy in ((1, (192, 128), third), (2, (128, 96), second), (3, (96, 64), first)):
        x = resize(n, _step(n, x, number, *widths), f"up{number}", copy)
        n[f"concat{number}"] = x = L.Concat(x, copy)
    x = _step(n, _step(n, x, 4, 64, 48), 5, 48, 32)
    x = resize(n, x, "up5", n.data)
    x = convolution(n, x, "conv6", 32, HEAD_RATE, **dilated(3), bias_term=True)
    classifier(n, x, "conv7", bias_term=False, top="score")


def _step(n: NetSpec, x: Top, number: int, inside: int, out: int) -> Top:
    x = convolution(n, x, f"conv{number}", inside, HEAD_RATE, **dilated(3), bias_term=True)
    n[f"upconv{number}"] = L.Deconvolution(
        x,
        param={"lr_mult": HEAD_RATE, "decay_mult": 1},
        num_output=out,
        bias_term=False,
        kernel_size=4,
        stride=2,
        pad=1,
        weight_filler={"type": "msra"},
    )
    return n[f"upconv{number}"]


NETWORKS = (
    program("unet_segmentation", "UNet, as in pytorch-segmentation.", __name__, _scores, crop=512),
    program(
        "unet_resnet50_segmentation",
        "UNet on ResNet-50 with a deep stem, as in pytorch-segmentation.",
        __name__,
        _resnet_scores,
        crop=512,
    ),
)
