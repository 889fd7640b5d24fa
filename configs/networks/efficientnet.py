"""EfficientNet-Lite0: inverted residuals without squeeze and excitation, with ReLU6 (Google's TPU variant).

TensorFlow's SAME padding is Caffe's pad k / 2 at image sizes 32k + 1, so the weights are exact there; at
other sizes the originals pad more at the bottom and right.
"""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks.torch_style import conv_norm, dilated
from rlossctl.prototxt.netspec import L, NetSpec, Top

# expansion, kernel, channels, blocks, stride
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
WIDTH = STAGES[-1][2]  # of the last block
EPS = 1e-3
LOW = 2  # the last block at stride 4
HEAD = 1280


def trunk(n: NetSpec, x: Top, prefix: str = "", *, output_stride: int = 32) -> tuple[Top, Top]:
    """Stem and blocks. When the stride would exceed `output_stride`, blocks are dilated instead.

    Returns:
        The 320 channels of the last block, and the 24 channels at stride 4.
    """
    x = conv_norm(n, x, f"{prefix}_conv_stem", f"{prefix}_bn0", 32, act="relu6", eps=EPS, **dilated(3, 1, 2))
    number, stride, rate, channels, low = 0, 2, 1, 32, x
    for expansion, kernel, width, blocks, step in STAGES:
        dilation = rate
        if stride * step > output_stride:
            rate, step = rate * step, 1
        stride *= step
        for index in range(blocks):
            spatial = dilated(kernel, dilation if index == 0 else rate, step if index == 0 else 1)
            x = _block(n, x, f"{prefix}_blocks.{number}", (channels, width), expansion, spatial)
            channels, low = width, x if number == LOW else low
            number += 1
    return x, low


def features(n: NetSpec, x: Top) -> Top:
    """The classifier's last convolution."""
    x, _ = trunk(n, x)
    return conv_norm(n, x, "_conv_head", "_bn1", HEAD, act="relu6", eps=EPS, kernel_size=1)


def _block(
    n: NetSpec, x: Top, name: str, channels: tuple[int, int], expansion: int, spatial: dict[str, Any]
) -> Top:
    inside, width = channels
    hidden, y = inside * expansion, x
    if expansion > 1:
        y = _layer(n, y, f"{name}._expand_conv", f"{name}._bn0", hidden, "relu6", {"kernel_size": 1})
    y = _layer(n, y, f"{name}._depthwise_conv", f"{name}._bn1", hidden, "relu6", {**spatial, "group": hidden})
    y = _layer(n, y, f"{name}._project_conv", f"{name}._bn2", width, "", {"kernel_size": 1})
    if spatial["stride"] == 1 and inside == width:
        n[name] = y = L.Eltwise(x, y, operation="SUM")
    return y


def _layer(n: NetSpec, x: Top, conv: str, bn: str, width: int, act: str, fields: dict[str, Any]) -> Top:
    return conv_norm(n, x, conv, bn, width, act=act, eps=EPS, **fields)
