"""PSPNet: a backbone of stride 8, with the means over 1, 4, 9 and 36 bins of the image beside its features.

These are pytorch-segmentation's networks on Hang Zhang's ResNets with a deep stem and on torchvision's
DenseNets, layer by layer. `rlossctl convert` reads their checkpoints (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rlossctl.configs.networks import densenet, resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import (
    classifier,
    conv_norm,
    dilated,
    dropout,
    resize,
    scaled,
)
from rlossctl.prototxt.netspec import L, NetSpec, Top

BINS = (1, 2, 3, 6)
AUXILIARY = {"auxiliary": 0.4}


def _resnet_scores(n: NetSpec, depth: int) -> None:
    *_, early, x = resnets.encoding(n, scaled(n, n.data), depth, "backbone.")
    _heads(n, early, x, 512)


def _densenet_scores(n: NetSpec, size: densenet.Size) -> None:
    early, x = densenet.trunk(n, scaled(n, n.data), size)
    _heads(n, early, x, size.channels(4) // len(BINS))


def _heads(n: NetSpec, early: Top, x: Top, width: int) -> None:
    x = pyramid(n, x, "master_branch.0", BINS, width, width)
    resize(n, classifier(n, x, "master_branch.1"), "score", n.data, aligned=False)
    n.comment("the auxiliary branch, for training only")
    x = _head(n, early, "auxiliary_branch", width)
    resize(n, classifier(n, x, "auxiliary_branch.4"), "auxiliary", n.data, aligned=False)


def pyramid(n: NetSpec, x: Top, name: str, bins: Sequence[int], width: int, out: int) -> Top:
    """The features and their means over bins of several sizes, joined; a convolution to `out` channels."""
    parts = [x]
    for index, size in enumerate(bins):
        n.comment(f"pyramid, level {index + 1}: the means of {size} x {size} bins")
        level = f"{name}.stages.{index}"
        n[f"{level}.0"] = part = L.AdaptivePooling(x, output_size=size)
        part = conv_norm(n, part, f"{level}.1", f"{level}.2", width, kernel_size=1)
        parts.append(resize(n, part, level, x))
    n.comment("pyramid, joined")
    n[f"{name}.concat"] = L.Concat(*parts)
    return _head(n, n[f"{name}.concat"], f"{name}.bottleneck", out)


def _head(n: NetSpec, x: Top, name: str, width: int) -> Top:
    x = conv_norm(n, x, f"{name}.0", f"{name}.1", width, **dilated(3))
    return dropout(n, x, f"{name}.3", 0.1, whole_channels=True)


NETWORKS = (
    *(
        program(
            f"pspnet_resnet{depth}_segmentation",
            f"PSPNet on ResNet-{depth} with a deep stem, as in pytorch-segmentation.",
            __name__,
            partial(_resnet_scores, depth=depth),
            size=512,
            auxiliary=AUXILIARY,
        )
        for depth in (50, 101, 152)
    ),
    *(
        program(
            f"pspnet_densenet{depth}_segmentation",
            f"PSPNet on DenseNet-{depth}, as in pytorch-segmentation.",
            __name__,
            partial(_densenet_scores, size=size),
            size=512,
            backbone=densenet.PREFIXES,
            auxiliary=AUXILIARY,
        )
        for depth, size in densenet.SIZES.items()
    ),
)
