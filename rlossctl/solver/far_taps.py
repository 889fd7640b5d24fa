"""Dilated convolutions whose outer taps meet nothing but padding on the maps that training sees.

Such taps get no gradient and keep their random values. On a larger map, as whole photos give in a test, they
meet features and add noise: a DeepLab v3+ with dilations 6, 12, 18, trained on crops of 193 pixels (maps of
13 x 13), scores lower on whole photos than on tiles of 193 pixels (docs/study.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from rlossctl.net import Net
from rlossctl.outlines.convolution import ConvolutionOutline
from rlossctl.words import counted


def taps_beyond_the_map(net: Net) -> Iterator[str]:
    """A warning, if a dilated convolution that learns has taps that never meet its bottom.

    Args:
        net: a training net; the shapes of its bottoms are those of its crops.
    """
    found = []
    learning = {entry.layer for entry in net.learnable if entry.index == 0 and entry.lr_mult}
    for layer in net.layers:
        module = layer.module
        if isinstance(module, ConvolutionOutline) and layer.name in learning:
            side = net.shapes[layer.bottoms[0]][-module.spatial :]
            if any(_dead(module, axis, size) for axis, size in enumerate(side)):
                dilation = max(module.dilation)
                found.append(f"{layer.name} (dilation {dilation}, map {' x '.join(map(str, side))})")
    if found:
        yield (
            f"{net.file.path}: {counted(len(found), 'dilated convolution')} with taps that meet only padding "
            f"in training: {', '.join(found)}. They stay random and disturb larger photos: take a larger "
            "crop, a smaller dilation, or score with --protocol tiles and the crop as --tile"
        )


def _dead(layer: ConvolutionOutline, axis: int, size: int) -> bool:
    """Whether a tap falls outside at every position along one axis."""
    kernel, stride, pad = layer.kernel[axis], layer.stride[axis], layer.pad[axis]
    dilation = layer.dilation[axis]
    if dilation == 1:
        return False
    outputs = (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
    return not all(_meets(tap * dilation - pad, stride, outputs, size) for tap in range(kernel))


def _meets(start: int, stride: int, outputs: int, size: int) -> bool:
    return any(0 <= start + stride * place < size for place in range(outputs))
