"""UperNet: a pyramid of pooled features behind a ResNet-101 of stride 16, and a pyramid of its stages.

This is pytorch-segmentation's network (the head for objects), layer by layer. One convolution smooths three
levels. `rlossctl convert` reads its checkpoints (docs/import.md).
"""

from __future__ import annotations

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.pspnet import pyramid
from rlossctl.configs.networks.torch_style import (
    classifier,
    conv_norm,
    convolution,
    dilated,
    resize,
    scaled,
)
from rlossctl.prototxt.netspec import L, NetSpec

WIDTH = 256
BINS = (1, 2, 4, 6)


def _scores(n: NetSpec) -> None:
    x = resnets.stem(n, scaled(n, n.data), "backbone.")
    stages = resnets.stages(n, x, 101, "backbone.", strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    stages[-1] = pyramid(n, stages[-1], "PPN", BINS, 512, 2048)
    n.comment("each stage, plus the next coarser one")
    for index in (1, 2, 3):
        name = f"FPN.conv1x1.{index - 1}"
        stages[index] = convolution(n, stages[index], name, WIDTH, kernel_size=1, bias_term=True)
    sums = []
    for index in (0, 1, 2):
        name = f"FPN.sum{index}"
        coarser = resize(n, stages[index + 1], f"{name}.up", stages[index])
        n[name] = L.Eltwise(coarser, stages[index], operation="SUM")
        sums.append(n[name])
    name = "FPN.smooth_conv.0"
    tops = L.Convolution(
        *sums,
        name=name,
        ntop=3,
        num_output=WIDTH,
        weight_filler={"type": "msra"},
        **dilated(3),
    )
    parts = []
    for index, top in enumerate(tops):
        n[f"FPN.smooth{index}"] = top
        parts.append(top)
    parts.append(stages[-1])
    for index in (1, 2, 3):
        parts[index] = resize(n, parts[index], f"FPN.level{index}", parts[0])
    n["FPN.concat"] = L.Concat(*parts)
    x = conv_norm(n, n["FPN.concat"], "FPN.conv_fusion.0", "FPN.conv_fusion.1", WIDTH, **dilated(3))
    resize(n, classifier(n, x, "head", **dilated(3)), "score", n.data, aligned=False)


NETWORKS = (
    program(
        "upernet_resnet101_segmentation",
        "UperNet on ResNet-101, as in pytorch-segmentation.",
        __name__,
        _scores,
        size=512,
        start="pytorch-segmentation's checkpoint; torchvision's resnet101",
    ),
)
