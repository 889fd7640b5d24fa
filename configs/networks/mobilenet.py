"""MobileNetV2: inverted residuals, padded before the depthwise convolution, or before the expansion as in the
rloss and pytorch-deeplab-xception programs."""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks.torch_style import conv_norm, dilated
from rlossctl.prototxt.netspec import L, NetSpec, Top

# expansion, channels, blocks, stride
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LOW = 3  # the last block at stride 4


def trunk(
    n: NetSpec, x: Top, prefix: str = "", *, output_stride: int = 32, pad_first: bool = False
) -> tuple[Top, Top]:
    """Stem and blocks. When the stride would exceed `output_stride`, blocks are dilated instead.

    Returns:
        The 320 channels of the last block, and the 24 channels at stride 4.
    """
    x = conv_norm(n, x, f"{prefix}features.0.0", f"{prefix}features.0.1", 32, act="relu6", **dilated(3, 1, 2))
    number, stride, rate, channels, low = 0, 2, 1, 32, x
    for expansion, width, blocks, step in STAGES:
        dilation = 1
        if stride == output_stride:
            dilation, rate, step = rate, rate * step, 1
        stride *= step
        for index in range(blocks):
            number += 1
            name = f"{prefix}features.{number}"
            fields = {"stride": step if index == 0 else 1, "dilation": dilation}
            x, channels = _block(n, x, name, channels, width, expansion, pad_first, **fields), width
            low = x if number == LOW else low
    return x, low


def _block(
    n: NetSpec,
    x: Top,
    name: str,
    channels: int,
    width: int,
    expansion: int,
    pad_first: bool,
    stride: int,
    dilation: int,
) -> Top:
    hidden, y, step = channels * expansion, x, 0

    def layer(y: Top, num_output: int, act: str, **fields: Any) -> Top:
        nonlocal step
        top = conv_norm(n, y, f"{name}.conv.{step}", f"{name}.conv.{step + 1}", num_output, act=act, **fields)
        step += 3
        return top

    spatial = dilated(3, dilation, stride, group=hidden)
    if expansion > 1:
        border = {"pad": spatial["pad"]} if pad_first else {}
        y = layer(y, hidden, "relu6", kernel_size=1, **border)
        if pad_first:
            spatial["pad"] = 0
    y = layer(y, hidden, "relu6", **spatial)
    y = layer(y, width, "", kernel_size=1)
    if stride == 1 and channels == width:
        n[name] = y = L.Eltwise(x, y, operation="SUM")
    return y
