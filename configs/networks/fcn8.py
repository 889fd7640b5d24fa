"""FCN-8s on VGG-16: scores at strides 32, 16 and 8, added and zoomed by fixed deconvolutions.

This is pytorch-segmentation's network, layer by layer. A border of 100 pixels makes every image large enough
for the 7 x 7 convolution; crops remove it again. `rlossctl convert` reads its checkpoints (docs/import.md).
"""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import classifier, convolution, dropout, relu, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

# Index of each convolution in its sequence, and channels; None is the pool.
POOL3 = ((0, 64), (2, 64), None, (5, 128), (7, 128), None, (10, 256), (12, 256), (14, 256), None)
POOL4 = POOL5 = ((0, 512), (2, 512), (4, 512), None)
BORDER = 100


def _scores(n: NetSpec) -> None:
    pool3 = _sequence(n, scaled(n, n.data), "pool3", POOL3, border=BORDER)
    pool4 = _sequence(n, pool3, "pool4", POOL4)
    pool5 = _sequence(n, pool4, "pool5", POOL5)
    x = _hidden(n, pool5, 0, kernel_size=7)
    x = _hidden(n, x, 3, kernel_size=1)
    x = _zoom(n, classifier(n, x, "output.6"), "up_output", 2)
    n.comment("with the scores at stride 16")
    x = _zoom(n, _added(n, x, pool4, "pool4", 0.01, 5), "up_pool4_out", 2)
    n.comment("with the scores at stride 8")
    x = _zoom(n, _added(n, x, pool3, "pool3", 0.0001, 9), "up_final", 8)
    n.score = L.Crop(x, n.data, offset=31)


def _sequence(
    n: NetSpec, x: Top, name: str, parts: tuple[tuple[int, int] | None, ...], border: int = 1
) -> Top:
    for place, part in enumerate(parts):
        if part is None:
            pool = f"{name}.pool{place}"
            n[pool] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
            continue
        index, width = part
        pad = border if place == 0 else 1
        x = convolution(n, x, f"{name}.{index}", width, kernel_size=3, pad=pad, bias_term=True)
        x = relu(n, x, f"{name}.{index + 1}")
    return x


def _hidden(n: NetSpec, x: Top, index: int, **fields: Any) -> Top:
    x = convolution(n, x, f"output.{index}", 4096, bias_term=True, **fields)
    x = relu(n, x, f"output.{index + 1}")
    return dropout(n, x, f"output.{index + 2}", 0.5)


def _zoom(n: NetSpec, x: Top, name: str, factor: int) -> Top:
    n[name] = L.Deconvolution(
        x,
        param={"lr_mult": 0, "decay_mult": 0},
        num_output="${NUM_LABELS}",
        bias_term=False,
        kernel_size=2 * factor,
        stride=factor,
        group="${NUM_LABELS}",
        weight_filler={"type": "bilinear"},
    )
    return n[name]


def _added(n: NetSpec, x: Top, pool: Top, name: str, scale: float, offset: int) -> Top:
    """Adds the scores of an earlier pool, cropped to the size of the scores so far."""
    n[f"{name}_scaled"] = L.Power(pool, scale=scale)
    n[f"{name}_crop"] = L.Crop(classifier(n, n[f"{name}_scaled"], f"adj_{name}"), x, offset=offset)
    n[f"{name}_sum"] = L.Eltwise(n[f"{name}_crop"], x, operation="SUM")
    return n[f"{name}_sum"]


NETWORKS = (
    program(
        "fcn8_vgg16_segmentation",
        "FCN-8s on VGG-16, as in pytorch-segmentation.",
        __name__,
        _scores,
        size=512,
        backbone=("pool", "output."),  # the program counts fc6, fc7 and the classifier to it
    ),
)
