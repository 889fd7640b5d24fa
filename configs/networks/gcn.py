"""Global Convolutional Network: convolutions of 11 x 1 and 1 x 11 on the four stages of a ResNet-50.

This is pytorch-segmentation's network with its default settings, layer by layer. `rlossctl convert` reads its
checkpoints (docs/import.md).
"""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import classifier, convolution, relu, resize, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

SIZE = 11


def _scores(n: NetSpec) -> None:
    x = resnets.stem(n, scaled(n, n.data), "backbone.")
    stages = resnets.stages(n, x, 50, "backbone.")
    scores = []
    for number, stage in enumerate(stages, start=1):
        n.comment(f"scores of stage {number}")
        scores.append(_refined(n, _global(n, stage, f"gcn{number}"), f"br{number}"))
    n.comment("from the coarsest to the finest")
    x = scores.pop()
    for number in (5, 6, 7):
        finer = scores.pop()
        x = resize(n, x, f"up{number}", finer)
        n[f"sum{number}"] = L.Eltwise(finer, x, operation="SUM")
        x = _refined(n, n[f"sum{number}"], f"br{number}")
    x = resize(n, _refined(n, x, "br8"), "up9", n.data)
    classifier(n, _refined(n, x, "br9"), "final_conv", top="score")


def _global(n: NetSpec, x: Top, name: str) -> Top:
    """The sum of two branches: columns then rows, and rows then columns."""
    column = {"kernel_h": SIZE, "kernel_w": 1, "pad_h": SIZE // 2, "pad_w": 0}
    row = {"kernel_h": 1, "kernel_w": SIZE, "pad_h": 0, "pad_w": SIZE // 2}
    left = _convolution(n, _convolution(n, x, f"{name}.conv11", column), f"{name}.conv12", row)
    right = _convolution(n, _convolution(n, x, f"{name}.conv21", row), f"{name}.conv22", column)
    n[name] = L.Eltwise(left, right, operation="SUM")
    return n[name]


def _refined(n: NetSpec, x: Top, name: str) -> Top:
    """Boundary refinement: two convolutions, added to the scores."""
    spatial = {"kernel_size": 3, "pad": 1}
    y = relu(n, _convolution(n, x, f"{name}.conv1", spatial), f"{name}.relu2")
    n[name] = L.Eltwise(_convolution(n, y, f"{name}.conv2", spatial), x, operation="SUM")
    return n[name]


def _convolution(n: NetSpec, x: Top, name: str, fields: dict[str, Any]) -> Top:
    return convolution(n, x, name, "${NUM_LABELS}", bias_term=True, **fields)


NETWORKS = (
    program(
        "gcn_resnet50_segmentation",
        "Global Convolutional Network on ResNet-50, as in pytorch-segmentation.",
        __name__,
        _scores,
        size=512,
        start="pytorch-segmentation's checkpoint; torchvision's resnet50",
    ),
)
