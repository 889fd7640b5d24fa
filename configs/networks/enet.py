"""ENet: bottlenecks at strides 4 and 8, then unpooling back to full size.

This is pytorch-segmentation's network, layer by layer, for sizes 8k. Its first block puts the pooled image
beside a convolution of it, so here the image's channels are first brought into that program's order.
`rlossctl convert` reads its checkpoints (docs/import.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import convolution, dilated, dropout, norm, relu, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top


class Block(NamedTuple):
    """A bottleneck: channels before and after it, and the settings of its middle convolution.

    Attributes:
        ratio: the dropout ratio.
        learnt: whether its ReLUs have a learnt slope.
    """

    name: str
    inside: int
    out: int
    ratio: float = 0.1
    dilation: int = 1
    asymmetric: bool = False
    learnt: bool = True


_MIDDLE: tuple[dict[str, Any], ...] = (
    *({"dilation": 1}, {"dilation": 2}, {"asymmetric": True}, {"dilation": 4}),
    *({"dilation": 1}, {"dilation": 8}, {"asymmetric": True}, {"dilation": 16}),
)


def _scores(n: NetSpec) -> None:
    x = _initial(n, _as_rgb(n, scaled(n, n.data)))
    x, mask1 = _down(n, x, Block("bottleneck10", 16, 64, 0.01))
    for number in range(11, 15):
        x = _plain(n, x, Block(f"bottleneck{number}", 64, 64, 0.01))
    x, mask2 = _down(n, x, Block("bottleneck20", 64, 128))
    for stage in (20, 30):
        for number, kind in enumerate(_MIDDLE, start=stage + 1):
            x = _plain(n, x, Block(f"bottleneck{number}", 128, 128, **kind))
    x = _up(n, x, mask2, Block("bottleneck40", 128, 64, learnt=False))
    for number in (41, 42):
        x = _plain(n, x, Block(f"bottleneck{number}", 64, 64, learnt=False))
    x = _up(n, x, mask1, Block("bottleneck50", 64, 16, learnt=False))
    x = _plain(n, x, Block("bottleneck51", 16, 16, learnt=False))
    x = _spread(n, x, "fullconv", "${NUM_LABELS}")
    n.score = L.Crop(x, n.data, offset=1)


def _as_rgb(n: NetSpec, x: Top) -> Top:
    n.comment("red, green, blue")
    n.blue, n.green, n.red = L.Slice(x, ntop=3, name="colours")
    n.rgb = L.Concat(n.red, n.green, n.blue)
    return n.rgb


def _initial(n: NetSpec, x: Top) -> Top:
    n["initial.pool"] = pooled = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    y = convolution(n, x, "initial.conv", 13, kernel_size=3, pad=1, stride=2, bias_term=True)
    n["initial"] = L.Concat(pooled, y)
    n["initial.prelu"] = x = L.PReLU(norm(n, n["initial"], "initial.bn"), in_place=True)
    return x


def _down(n: NetSpec, x: Top, block: Block) -> tuple[Top, Top]:
    """Halves the size; also returns the mask of its pooling."""
    name = f"{block.name}.pool"
    n[name], n[f"{name}_mask"] = L.Pooling(x, ntop=2, name=name, pool="MAX", kernel_size=2, stride=2)
    n[f"{block.name}.zeros"] = zeros = L.Power(n[name], scale=0)
    missing = (block.out - block.inside) // block.inside  # blobs of zeros that fill up the channels
    n[f"{block.name}.padded"] = shortcut = L.Concat(n[name], *[zeros] * missing)
    y = _normed(n, x, block, "1", block.inside // 4, kernel_size=2, stride=2)
    return _join(n, _middle(n, y, block), shortcut, block), n[f"{name}_mask"]


def _plain(n: NetSpec, x: Top, block: Block) -> Top:
    y = _normed(n, x, block, "1", block.inside // 4, kernel_size=1)
    return _join(n, _middle(n, y, block), x, block)


def _up(n: NetSpec, x: Top, mask: Top, block: Block) -> Top:
    """Doubles the size: the shortcut by unpooling, the rest by a deconvolution."""
    name = block.name
    shortcut = convolution(n, x, f"{name}.spatil_conv", block.out, kernel_size=1)
    n[f"{name}.unpool"] = shortcut = L.Upsample(norm(n, shortcut, f"{name}.bn_up"), mask, scale=2)
    y = _normed(n, x, block, "1", block.inside // 4, kernel_size=1)
    y = _spread(n, y, f"{name}.conv2", block.inside // 4)
    n[f"{name}.crop"] = y = L.Crop(y, shortcut, offset=1)
    y = _activated(n, norm(n, y, f"{name}.bn2"), f"{name}.prelu2", block)
    return _join(n, y, shortcut, block)


def _spread(n: NetSpec, x: Top, name: str, width: int | str) -> Top:
    """A deconvolution to twice the size plus one pixel, cropped to what the program computes."""
    n[name] = L.Deconvolution(
        x, num_output=width, bias_term=False, kernel_size=3, stride=2, weight_filler={"type": "msra"}
    )
    return n[name]


def _middle(n: NetSpec, x: Top, block: Block) -> Top:
    if not block.asymmetric:
        return _normed(n, x, block, "2", block.inside // 4, **dilated(3, block.dilation))
    name, width = f"{block.name}.conv2", block.inside // 4
    row: dict[str, Any] = {"kernel_h": 1, "kernel_w": 5, "pad_h": 0, "pad_w": 2}
    column: dict[str, Any] = {"kernel_h": 5, "kernel_w": 1, "pad_h": 2, "pad_w": 0}
    x = norm(n, convolution(n, x, f"{name}.0", width, bias_term=True, **row), f"{name}.1")
    x = convolution(n, _activated(n, x, f"{name}.2", block), f"{name}.3", width, bias_term=True, **column)
    return _activated(n, norm(n, x, f"{block.name}.bn2"), f"{block.name}.prelu2", block)


def _normed(n: NetSpec, x: Top, block: Block, number: str, width: int, **fields: Any) -> Top:
    x = norm(n, convolution(n, x, f"{block.name}.conv{number}", width, **fields), f"{block.name}.bn{number}")
    return _activated(n, x, f"{block.name}.prelu{number}", block)


def _join(n: NetSpec, x: Top, shortcut: Top, block: Block) -> Top:
    x = _normed(n, x, block, "3", block.out, kernel_size=1)
    x = dropout(n, x, f"{block.name}.regularizer", block.ratio, whole_channels=True)
    n[block.name] = L.Eltwise(x, shortcut, operation="SUM")
    return _activated(n, n[block.name], f"{block.name}.prelu_out", block)


def _activated(n: NetSpec, x: Top, name: str, block: Block) -> Top:
    if not block.learnt:
        return relu(n, x, name)
    n[name] = L.PReLU(x, in_place=True, channel_shared=True)
    return n[name]


NETWORKS = (
    program("enet_segmentation", "ENet, as in pytorch-segmentation.", __name__, _scores, size=512, crop=384),
)
