"""Pairs of neighbouring layers that a pass computes as one, which is faster: BatchNorm with its Scale.

Values differ from those of the layers one by one in their rounding alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.walk import LayerNode, Numbered


class Joined(Layer):
    """A layer and the only reader of its top. They run one by one while somebody has hooks on them.

    Args:
        setup: the first's.
    """

    low_precision = True  # as the first

    def __init__(self, setup: Setup, first: Layer, second: Layer) -> None:
        super().__init__(setup)
        self.pair = (first, second)  # a tuple, so that they stay the net's

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.pair
        if _hooked(first) or _hooked(second):
            return second(first(x))
        return first.forward_joined(x, second)


def joined_layers(layers: Sequence[LayerNode], outputs: Collection[str]) -> list[Numbered]:
    """The layers with their numbers; pairs that can be joined have become one, with the first's number.

    Args:
        outputs: blobs that are read after the last layer.
    """
    found: list[Numbered] = []
    numbered = iter(enumerate(layers))
    for number, layer in numbered:
        later = layers[number + 1 :]
        if later and _can_be_joined(layer, later[0]) and _unread(layer.tops[0], later[0], later[1:], outputs):
            next(numbered)
            found.append((number, _joined(layer, later[0])))
        else:
            found.append((number, layer))
    return found


def _can_be_joined(layer: LayerNode, follower: LayerNode) -> bool:
    if len(layer.tops) != 1 or follower.bottoms != layer.tops or len(follower.tops) != 1:
        return False
    plain = not (any(layer.node.loss_weights) or any(follower.node.loss_weights) or follower.node.blocked)
    return plain and layer.module.joins(follower.module)


def _unread(blob: str, follower: LayerNode, later: Sequence[LayerNode], outputs: Collection[str]) -> bool:
    """Whether nothing reads the blob after the follower, unless another layer has made it anew."""
    if blob in follower.tops:
        return True
    for layer in later:
        if blob in layer.bottoms:
            return False
        if blob in layer.tops:
            return True
    return blob not in outputs


def _joined(layer: LayerNode, follower: LayerNode) -> LayerNode:
    node = replace(layer.node, tops=follower.tops)
    return LayerNode(node, Joined(layer.module.setup, layer.module, follower.module))


def _hooked(layer: Layer) -> bool:
    return bool(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )
