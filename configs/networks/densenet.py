"""DenseNets of stride 8: each layer of a block reads the outputs of all layers before it.

They are torchvision's, with the dilated last two blocks of pytorch-segmentation, whose names for the modules
they bear: stem `block0`, `block1` to `block4`, and what narrows them, `transition1` to `transition3`.
"""

from __future__ import annotations

from typing import NamedTuple

from rlossctl.configs.networks.torch_style import conv_norm, convolution, dilated, max_pool, norm, relu
from rlossctl.prototxt.netspec import L, NetSpec, Top

PREFIXES = ("block", "transition")
BOTTLENECK = 4  # channels of a layer's 1 x 1 convolution, in units of its output


class Size(NamedTuple):
    """One of the DenseNets: layers in each block, channels that each adds, channels of the stem."""

    layers: tuple[int, int, int, int]
    growth: int = 32
    stem: int = 64

    def channels(self, block: int) -> int:
        """Channels after this block, counted from 1."""
        count = self.stem
        for number, layers in enumerate(self.layers[:block]):
            count = (count // 2 if number else count) + layers * self.growth
        return count


SIZES = {
    121: Size((6, 12, 24, 16)),
    161: Size((6, 12, 36, 24), 48, 96),
    169: Size((6, 12, 32, 32)),
    201: Size((6, 12, 48, 32)),
}


def trunk(n: NetSpec, x: Top, size: Size) -> tuple[Top, Top]:
    """Returns what the last block reads and what it gives, both at stride 8."""
    x = conv_norm(n, x, "block0.0", "block0.1", size.stem, **dilated(7, 1, 2))
    x = max_pool(n, x, "block0.3")
    for number, (layers, dilation) in enumerate(zip(size.layers, (1, 1, 2, 4), strict=True), start=1):
        n.comment(f"block {number}: {layers} layers")
        early = x
        for layer in range(1, layers + 1):
            x = _layer(n, x, f"block{number}.denselayer{layer}", size.growth, dilation)
        if number < 4:
            x = _transition(n, x, number, size.channels(number) // 2)
    return early, x


def _layer(n: NetSpec, x: Top, name: str, growth: int, dilation: int) -> Top:
    """Two normalised and rectified inputs, two convolutions; the result is joined to the input."""
    y = relu(n, norm(n, x, f"{name}.norm1", in_place=False), f"{name}.relu1")
    y = conv_norm(n, y, f"{name}.conv1", f"{name}.norm2", BOTTLENECK * growth, kernel_size=1)
    y = convolution(n, y, f"{name}.conv2", growth, **dilated(3, dilation))
    n[name] = L.Concat(x, y)
    return n[name]


def _transition(n: NetSpec, x: Top, number: int, width: int) -> Top:
    """To half the channels; only the first also halves the size."""
    name = f"transition{number}"
    bn, conv = (f"{name}.norm", f"{name}.conv") if number == 1 else (f"{name}.0", f"{name}.2")
    x = relu(n, norm(n, x, bn, in_place=False), f"{bn}_relu")
    x = convolution(n, x, conv, width, kernel_size=1)
    if number == 1:
        n[f"{name}.pool"] = x = L.Pooling(x, pool="AVE", kernel_size=2, stride=2, round_mode="FLOOR")
    return x
