"""Aligned Xception: separable convolutions, strides in place of pooling.

A block's first ReLU works in place in the originals, so its shortcut too reads the rectified input: here the
ReLU stands before the block.
"""

from __future__ import annotations

from collections.abc import Sequence

from networks.torch_style import conv_norm, convolution, dilated, norm, relu

from rlossctl.prototxt.netspec import L, NetSpec, Top


def trunk(n: NetSpec, x: Top, prefix: str, *, early_low: bool = False) -> tuple[Top, Top]:
    """Output stride 16. Returns 2048 channels and the 128 channels at stride 4.

    Args:
        early_low: pytorch-segmentation's variant: no ReLU before block 1, and the low-level features are
            taken before the ReLU behind it.
    """
    x = conv_norm(n, x, f"{prefix}conv1", f"{prefix}bn1", 32, **dilated(3, 1, 2))
    x = conv_norm(n, x, f"{prefix}conv2", f"{prefix}bn2", 64, act="" if early_low else "relu", **dilated(3))
    low = x = _block(n, x, f"{prefix}block1", (64, 128, 128, 128), stride=2, first=0)
    if early_low:
        n[f"{prefix}block1_relu"] = x = L.ReLU(x)
    else:
        low = x = relu(n, x, f"{prefix}block1_relu")
    stages = [(2, (128, 256, 256, 256), 2), (3, (256, 728, 728, 728), 2)]
    stages += [(number, (728, 728, 728, 728), 1) for number in range(4, 20)]
    for number, widths, stride in (*stages, (20, (728, 728, 1024, 1024), 1)):
        name = f"{prefix}block{number}"
        x = relu(n, _block(n, x, name, widths, stride=stride), f"{name}_relu")
    for number, channels, width in ((3, 1024, 1536), (4, 1536, 1536), (5, 1536, 2048)):
        x = _separable(n, x, f"{prefix}conv{number}", channels, width, dilation=2)
        x = relu(n, norm(n, x, f"{prefix}bn{number}"), f"{prefix}bn{number}_relu")
    return x, low


def _block(n: NetSpec, x: Top, name: str, widths: Sequence[int], *, stride: int = 1, first: int = 1) -> Top:
    """Three separable convolutions of a rectified input, and the shortcut; `first` is the first one's index."""
    y = x
    for position in range(3):
        index, step = first + 3 * position, stride if position == 2 else 1
        y = _separable(n, y, f"{name}.rep.{index}", *widths[position : position + 2], stride=step)
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
