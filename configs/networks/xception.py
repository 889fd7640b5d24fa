"""Aligned Xception: separable convolutions, strides in place of pooling.

In the originals a block's first ReLU works in place, so its shortcut reads the rectified input, too. Here the
ReLU comes before the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlossctl.configs.networks.torch_style import conv_norm, convolution, dilated, norm, relu
from rlossctl.prototxt.netspec import L, NetSpec, Top


def trunk(
    n: NetSpec, x: Top, prefix: str, *, output_stride: int = 16, plain: bool = False
) -> tuple[Top, Top]:
    """Returns 2048 channels at stride 16 or 8, and the 128 channels at stride 4.

    Args:
        plain: pytorch-segmentation's variant: no ReLU before block 1, low-level features from before the ReLU
            that follows it, and a block 20 that is dilated throughout.
    """
    rate = 16 // output_stride  # of the middle blocks
    x = conv_norm(n, x, f"{prefix}conv1", f"{prefix}bn1", 32, **dilated(3, 1, 2))
    x = conv_norm(n, x, f"{prefix}conv2", f"{prefix}bn2", 64, act="" if plain else "relu", **dilated(3))
    low = x = _block(n, x, f"{prefix}block1", (64, 128, 128, 128), stride=2, first=0)
    if plain:
        n[f"{prefix}block1_relu"] = x = L.ReLU(x)
    else:
        low = x = relu(n, x, f"{prefix}block1_relu")
    x = _rectified(n, x, f"{prefix}block2", (128, 256, 256, 256), stride=2)
    x = _rectified(n, x, f"{prefix}block3", (256, 728, 728, 728), stride=2 // rate)
    for number in range(4, 20):
        x = _rectified(n, x, f"{prefix}block{number}", (728, 728, 728, 728), dilations=(rate, rate, rate))
    dilations = (rate, rate, rate if plain else 1)
    x = _rectified(n, x, f"{prefix}block20", (728, 728, 1024, 1024), dilations=dilations)
    for number, channels, width in ((3, 1024, 1536), (4, 1536, 1536), (5, 1536, 2048)):
        x = _separable(n, x, f"{prefix}conv{number}", channels, width, dilation=2 * rate)
        x = relu(n, norm(n, x, f"{prefix}bn{number}"), f"{prefix}bn{number}_relu")
    return x, low


def _rectified(n: NetSpec, x: Top, name: str, widths: Sequence[int], **fields: Any) -> Top:
    return relu(n, _block(n, x, name, widths, **fields), f"{name}_relu")


def _block(
    n: NetSpec,
    x: Top,
    name: str,
    widths: Sequence[int],
    *,
    stride: int = 1,
    dilations: Sequence[int] = (1, 1, 1),
    first: int = 1,
) -> Top:
    """Three separable convolutions of a rectified input, numbered from `first`, and the shortcut."""
    y = x
    for position, dilation in enumerate(dilations):
        index, spatial = (
            first + 3 * position,
            {"stride": stride if position == 2 else 1, "dilation": dilation},
        )
        y = _separable(n, y, f"{name}.rep.{index}", *widths[position : position + 2], **spatial)
        y = norm(n, y, f"{name}.rep.{index + 1}")
        if position < 2:
            y = relu(n, y, f"{name}.rep.{index + 2}")
    if stride > 1 or widths[0] != widths[-1]:
        skip = {"kernel_size": 1, "stride": stride}
        x = conv_norm(n, x, f"{name}.skip", f"{name}.skipbn", widths[-1], act="", **skip)
    n[name] = L.Eltwise(x, y, operation="SUM")
    return n[name]


def _separable(
    n: NetSpec, x: Top, name: str, channels: int, width: int, *, stride: int = 1, dilation: int = 1
) -> Top:
    """A depthwise convolution, normalised, and a pointwise one."""
    spatial = dilated(3, dilation, stride, group=channels)
    x = conv_norm(n, x, f"{name}.conv1", f"{name}.bn", channels, act="", **spatial)
    return convolution(n, x, f"{name}.pointwise", width, kernel_size=1)
