"""Global Convolutional Network: convolutions of 11 x 1 and 1 x 11 on the four stages of a ResNet.

This is pytorch-segmentation's network, layer by layer. It zooms the scores from stage to stage, or learns to
with deconvolutions (the program's use_deconv); with these it is for sizes 32k. `rlossctl convert` reads its
checkpoints (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import classifier, convolution, relu, resize, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

SIZE = 11
DECONVOLUTIONS = {5: 4, 6: 3, 7: 2, 8: 1, 9: 5}  # by the number of the refinement that follows
# (net, scores, number of the refinement that follows, blob of the size to reach) -> scores of that size
Zoom = Callable[[NetSpec, Top, int, Top], Top]


def _scores(n: NetSpec, depth: int, zoom: Zoom) -> None:
    x = resnets.stem(n, scaled(n, n.data), "backbone.")
    stages = resnets.stages(n, x, depth, "backbone.")
    scores = []
    for number, stage in enumerate(stages, start=1):
        n.comment(f"scores of stage {number}")
        scores.append(_refined(n, _global(n, stage, f"gcn{number}"), f"br{number}"))
    n.comment("from the coarsest to the finest")
    x = scores.pop()
    for number in (5, 6, 7):
        finer = scores.pop()
        x = zoom(n, x, number, finer)
        n[f"sum{number}"] = L.Eltwise(finer, x, operation="SUM")
        x = _refined(n, n[f"sum{number}"], f"br{number}")
    x = _refined(n, zoom(n, x, 8, x), "br8")
    x = _refined(n, zoom(n, x, 9, n.data), "br9")
    classifier(n, x, "final_conv", top="score")


def _bilinear(n: NetSpec, x: Top, number: int, like: Top) -> Top:
    return x if x is like else resize(n, x, f"up{number}", like)


def _learned(n: NetSpec, x: Top, number: int, like: Top) -> Top:
    """A deconvolution to twice the size and one pixel, whose first row and column the program drops."""
    name = f"decon{DECONVOLUTIONS[number]}"
    n[name] = L.Deconvolution(
        x,
        num_output="${NUM_LABELS}",
        bias_term=False,
        kernel_size=3,
        stride=2,
        weight_filler={"type": "msra"},
    )
    n[f"up{number}"] = L.Interp(n[name], zoom_factor=1, pad_beg=-1)
    return n[f"up{number}"]


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


NETWORKS = tuple(
    program(
        f"gcn_{name}resnet{depth}_segmentation",
        f"Global Convolutional Network on ResNet-{depth}{words}, as in pytorch-segmentation.",
        __name__,
        partial(_scores, depth=depth, zoom=zoom),
        size=512,
        crop=crop,
        start=f"pytorch-segmentation's checkpoint; torchvision's resnet{depth}",
    )
    for name, words, zoom, crop in (
        ("", "", _bilinear, None),
        ("deconv_", " with deconvolutions", _learned, 384),
    )
    for depth in resnets.BLOCKS
)
