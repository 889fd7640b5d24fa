"""UNet: four poolings and four deconvolutions, with a skip connection at each level; and its variant on
ResNets.

These are pytorch-segmentation's networks, layer by layer. It has had two UNets: the one until October 2020
is for sizes 16k, which need no padding; today's takes any size. `rlossctl convert` reads the checkpoints of
both and distinguishes them (docs/import.md).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import (
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


def _scores_2020(n: NetSpec) -> None:
    """Today's UNet: pools after the convolutions, and a zoom if rounded-up halves are a pixel too large."""
    copies = [_pair(n, scaled(n, n.data), "start_conv", 64, inner=32)]
    for level, width in enumerate((*WIDTHS[1:], 1024), start=1):
        x = _pair(n, copies[-1], f"down{level}.down_conv", width, inner=width // 2)
        n[f"down{level}.pool"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
        copies.append(x)
    x = _pair(n, copies.pop(), "middle_conv", 1024, inner=512)
    for level, (width, copy) in enumerate(zip(WIDTHS[::-1], copies[::-1], strict=True), start=1):
        name = f"up{level}"
        n[f"{name}.up"] = x = L.Deconvolution(
            x, num_output=width, kernel_size=2, stride=2, weight_filler={"type": "msra"}
        )
        x = resize(n, x, f"{name}.zoom", copy)
        n[f"{name}.concat"] = x = L.Concat(copy, x)
        x = _pair(n, x, f"{name}.up_conv", width, inner=width // 2)
    convolution(n, x, "final_conv", "${NUM_LABELS}", kernel_size=1, bias_term=True, top="score")


def _pair(n: NetSpec, x: Top, name: str, width: int, inner: int = 0, **fields: Any) -> Top:
    """Two 3 x 3 convolutions, the first with `inner` channels if given."""
    for index, channels in ((0, inner or width), (3, width)):
        x = conv_norm(n, x, f"{name}.{index}", f"{name}.{index + 1}", channels, **dilated(3), **fields)
    return x


def _resnet_scores(n: NetSpec, depth: int) -> None:
    """The decoder has no ReLU: each step is a convolution and a deconvolution to twice the size."""
    first, second, third, x = resnets.encoding(n, scaled(n, n.data), depth, "backbone.")
    for number, widths, copy in ((1, (192, 128), third), (2, (128, 96), second), (3, (96, 64), first)):
        x = resize(n, _step(n, x, number, *widths), f"up{number}", copy)
        n[f"concat{number}"] = x = L.Concat(x, copy)
    x = _step(n, _step(n, x, 4, 64, 48), 5, 48, 32)
    x = resize(n, x, "up5", n.data)
    x = convolution(n, x, "conv6", 32, **dilated(3), bias_term=True)
    classifier(n, x, "conv7", bias_term=False, top="score")


def _step(n: NetSpec, x: Top, number: int, inside: int, out: int) -> Top:
    x = convolution(n, x, f"conv{number}", inside, **dilated(3), bias_term=True)
    n[f"upconv{number}"] = L.Deconvolution(
        x,
        num_output=out,
        bias_term=False,
        kernel_size=4,
        stride=2,
        pad=1,
        weight_filler={"type": "msra"},
    )
    return n[f"upconv{number}"]


NETWORKS = (
    program(
        "unet_segmentation",
        "UNet, as in pytorch-segmentation until October 2020.",
        __name__,
        _scores,
        size=512,
        crop=384,
    ),
    program(
        "unet_2020_segmentation",
        "UNet, as in pytorch-segmentation since October 2020.",
        __name__,
        _scores_2020,
        size=512,
    ),
    *(
        program(
            f"unet_resnet{depth}_segmentation",
            f"UNet on ResNet-{depth} with a deep stem, as in pytorch-segmentation.",
            __name__,
            partial(_resnet_scores, depth=depth),
            size=512,
        )
        for depth in (50, 101, 152)
    ),
)
