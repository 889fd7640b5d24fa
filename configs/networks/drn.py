"""Dilated residual network D-54, output stride 8: convolutions before and after four bottleneck stages."""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks.resnets import Block, bottleneck
from rlossctl.configs.networks.torch_style import conv_norm, dilated
from rlossctl.prototxt.netspec import NetSpec, Top

# layer's number, inner channels, blocks, stride, dilation
STAGES = ((3, 64, 3, 2, 1), (4, 128, 4, 2, 1), (5, 256, 6, 1, 2), (6, 512, 3, 1, 4))


def trunk(n: NetSpec, x: Top, prefix: str) -> tuple[Top, Top]:
    """Returns 512 channels at stride 8 and 256 channels at stride 4."""
    x = _layer(n, x, f"{prefix}layer0", 16, **dilated(7))
    x = _layer(n, x, f"{prefix}layer1", 16, **dilated(3))
    x = _layer(n, x, f"{prefix}layer2", 32, **dilated(3, 1, 2))
    outputs = []
    for number, width, count, stride, dilation in STAGES:
        for index in range(count):
            name = f"{prefix}layer{number}.{index}"
            x = bottleneck(n, x, Block(name, width, stride if index == 0 else 1, dilation, index == 0))
        outputs.append(x)
    x = _layer(n, x, f"{prefix}layer7", 512, **dilated(3, 2))
    return _layer(n, x, f"{prefix}layer8", 512, **dilated(3)), outputs[0]


def _layer(n: NetSpec, x: Top, name: str, width: int, **fields: Any) -> Top:
    return conv_norm(n, x, f"{name}.0", f"{name}.1", width, **fields)
