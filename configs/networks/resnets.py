"""ResNets with the stride in the 3 x 3 convolution, as in PyTorch, and their dilated variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlossctl.configs.networks.torch_style import conv_norm, dilated, max_pool, relu
from rlossctl.prototxt.netspec import L, NetSpec, Top

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)


class Block(NamedTuple):
    """A residual block: its module's path, inner channels, and the settings of its spatial convolution."""

    name: str
    width: int
    stride: int = 1
    dilation: int = 1
    project: bool = False


def bottleneck(n: NetSpec, x: Top, block: Block) -> Top:
    """1 x 1, 3 x 3, 1 x 1 with four times the channels, and the shortcut."""
    name, width = block.name, block.width
    y = conv_norm(n, x, f"{name}.conv1", f"{name}.bn1", width, kernel_size=1)
    spatial = dilated(3, block.dilation, block.stride)
    y = conv_norm(n, y, f"{name}.conv2", f"{name}.bn2", width, **spatial)
    y = conv_norm(n, y, f"{name}.conv3", f"{name}.bn3", 4 * width, act="", kernel_size=1)
    return _join(n, x, y, block, 4 * width)


def basic(n: NetSpec, x: Top, block: Block) -> Top:
    """Two 3 x 3 convolutions, the second one dilated, and the shortcut."""
    name, width = block.name, block.width
    y = conv_norm(n, x, f"{name}.conv1", f"{name}.bn1", width, **dilated(3, 1, block.stride))
    y = conv_norm(n, y, f"{name}.conv2", f"{name}.bn2", width, act="", **dilated(3, block.dilation))
    return _join(n, x, y, block, width)


def trunk(
    n: NetSpec,
    x: Top,
    depth: int,
    prefix: str = "",
    strides: Sequence[int] = (1, 2, 2, 2),
    dilations: Sequence[int | Sequence[int]] = (1, 1, 1, 1),
) -> tuple[Top, Top]:
    """Stem and stages; see `stages`. Returns layer4 and layer1."""
    first, *_, last = stages(n, stem(n, x, prefix), depth, prefix, strides, dilations)
    return last, first


def stem(n: NetSpec, x: Top, prefix: str) -> Top:
    """A 7 x 7 convolution and a pool: stride 4."""
    x = conv_norm(n, x, f"{prefix}conv1", f"{prefix}bn1", 64, **dilated(7, 1, 2))
    return max_pool(n, x, f"{prefix}maxpool")


def deep_stem(n: NetSpec, x: Top, prefix: str) -> Top:
    """Hang Zhang's stem (PyTorch-Encoding): three 3 x 3 convolutions instead of a 7 x 7, and 128 channels."""
    for index, width, stride in ((0, 64, 2), (3, 64, 1)):
        name, bn = (f"{prefix}conv1.{number}" for number in (index, index + 1))
        x = conv_norm(n, x, name, bn, width, **dilated(3, 1, stride))
    x = conv_norm(n, x, f"{prefix}conv1.6", f"{prefix}bn1", 128, **dilated(3))
    return max_pool(n, x, f"{prefix}maxpool")


def encoding(n: NetSpec, x: Top, depth: int, prefix: str) -> list[Top]:
    """Hang Zhang's ResNet of stride 8: a dilated stage's first block keeps the rate of the previous stage."""
    third, fourth = BLOCKS[depth][2:]
    dilations = (1, 1, (1, *[2] * (third - 1)), (2, *[4] * (fourth - 1)))
    return stages(n, deep_stem(n, x, prefix), depth, prefix, (1, 2, 1, 1), dilations)


def stages(
    n: NetSpec,
    x: Top,
    depth: int,
    prefix: str = "",
    strides: Sequence[int] = (1, 2, 2, 2),
    dilations: Sequence[int | Sequence[int]] = (1, 1, 1, 1),
) -> list[Top]:
    """layer1 to layer4, or as many as there are strides; a stage has one dilation, or one for each block."""
    make = basic if depth < 50 else bottleneck
    out = []
    for stage, (count, width, stride, rate) in enumerate(
        zip(BLOCKS[depth], WIDTHS, strides, dilations, strict=False)
    ):
        rates = [rate] * count if isinstance(rate, int) else rate
        for index, dilation in enumerate(rates):
            first = index == 0
            project = first and (stage > 0 or make is bottleneck)
            name = f"{prefix}layer{stage + 1}.{index}"
            x = make(n, x, Block(name, width, stride if first else 1, dilation, project))
        out.append(x)
    return out


def _join(n: NetSpec, x: Top, y: Top, block: Block, channels: int) -> Top:
    name = block.name
    if block.project:
        x = conv_norm(
            n,
            x,
            f"{name}.downsample.0",
            f"{name}.downsample.1",
            channels,
            act="",
            kernel_size=1,
            stride=block.stride,
        )
    n[name] = L.Eltwise(x, y, operation="SUM")
    return relu(n, n[name], f"{name}.relu")
