"""Which losses count in a pass, and how much."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from rlossctl.net.layer import DataLayer
from rlossctl.net.walk import LayerNode


@dataclass(frozen=True)
class Plan:
    """A pass that departs from the prototxt's loss weights.

    Attributes:
        factors: layer number -> what its loss weights are multiplied by.
        skipped: numbers of layers that do not run.
    """

    factors: Mapping[int, float] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()


def needless(layers: Sequence[LayerNode], off: Container[int]) -> frozenset[int]:
    """Numbers of the layers that need not run without those in `off`: these, and what only they read.

    Data layers always run, so that a batch is drawn.
    """
    gone: set[int] = set()
    readers: dict[str, set[int]] = {}
    for number in range(len(layers) - 1, -1, -1):
        layer = layers[number]
        read = [readers.get(top, set()) for top in layer.tops]
        unread = bool(read) and all(found and found <= gone for found in read)
        counts = any(layer.node.loss_weights) or isinstance(layer.module, DataLayer)
        if number in off or (unread and not counts):
            gone.add(number)
        for bottom in layer.bottoms:
            readers.setdefault(bottom, set()).add(number)
    return frozenset(gone)
