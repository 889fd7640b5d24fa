"""Dilated convolutions whose outer taps meet nothing but padding on the maps that training sees.

Such taps get no gradient and keep their random values. On a larger map, as whole photos give in a test, they
meet features and add noise: a DeepLab v3+ with dilations 6, 12, 18, trained on crops of 193 pixels (maps of
13 x 13), scores lower on whole photos than on tiles of 193 pixels (docs/study.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rlossctl.net import Net
from rlossctl.outlines.convolution import ConvolutionOutline
from rlossctl.words import counted


def taps_beyond_the_map(net: Net) -> Iterator[str]:
    """A warning, if a dilated convolution that learns has taps that never meet a bottom.

    Args:
        net: a training net; the shapes of its bottoms are those of its crops.
    """
    sharing: dict[int, list[_Placed]] = {}
    for layer in net.layers:
        if isinstance(layer.module, ConvolutionOutline):
            shape = net.shapes[layer.bottoms[0]][-layer.module.spatial :]
            placed = _Placed(layer.name, layer.module, shape)
            sharing.setdefault(id(net.params[layer.name][0]), []).append(placed)
    learning = (entry for entry in net.learnable if entry.index == 0 and entry.lr_mult)
    groups = (sharing.get(id(entry.tensor), []) for entry in learning)
    found = [str(group[0]) for group in groups if group and _has_dead_taps(group)]
    if found:
        yield (
            f"{net.file.path}: {counted(len(found), 'dilated convolution')} with taps that meet only padding "
            f"in training: {', '.join(found)}. They stay random and disturb larger photos: take a larger "
            "crop, a smaller dilation, or score with --protocol tiles and the crop as --tile"
        )


class _Placed(NamedTuple):
    """A convolution, and the sides of the map that it reads."""

    name: str
    layer: ConvolutionOutline
    sides: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} (dilation {max(self.layer.dilation)}, map {' x '.join(map(str, self.sides))})"

    def meeting(self, axis: int) -> set[int]:
        """The taps of an axis that meet the map at one position or more."""
        layer, side = self.layer, self.sides[axis]
        kernel, stride, pad = layer.kernel[axis], layer.stride[axis], layer.pad[axis]
        dilation = layer.dilation[axis]
        outputs = (side + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
        starts = [stride * place - pad for place in range(outputs)]
        return {tap for tap in range(kernel) if any(0 <= start + tap * dilation < side for start in starts)}


def _has_dead_taps(group: list[_Placed]) -> bool:
    """Whether layers that share their weights, as those of several scales do, all miss the map with a tap."""
    layer = group[0].layer
    return any(
        dilation > 1 and len(set().union(*(placed.meeting(axis) for placed in group))) < layer.kernel[axis]
        for axis, dilation in enumerate(layer.dilation)
    )
