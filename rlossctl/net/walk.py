"""Runs the layers of a net in order: binds blobs to names, drops each after its last reader.

All code that runs layers uses `walk`: a net's pass (`Net.run`), its deployed part (`Deploy.run`), and code
that looks at every tensor on the way (`Deploy.walk`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlossctl.net.graph import Node, NodeView
from rlossctl.net.layer import DataLayer, Layer
from rlossctl.net.precision import run_layer


@dataclass(frozen=True, eq=False)
class LayerNode(NodeView):
    """A built layer: its node in the graph and its module."""

    node: Node
    module: Layer


Numbered = tuple[int, LayerNode]


class Watch:
    """Sees what layers read and return while a net runs. This base class does nothing; derive from it."""

    def bottoms(self, layer: LayerNode, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """Before a layer runs: returns its bottoms, or what it shall read instead."""
        return values

    def tops(self, layer: LayerNode, values: Mapping[str, Tensor]) -> None:
        """After a layer has run: its tops by name; for a data layer, the tops that were given or drawn."""


@dataclass(eq=False)
class Step:
    """One layer that has run. At the next step its tops get their names, and this object is emptied."""

    number: int
    layer: LayerNode
    bottoms: tuple[Tensor, ...]
    tops: tuple[Tensor, ...]

    def replace(self, top: int, value: Tensor) -> None:
        """Continues the pass with another value for a top."""
        self.tops = (*self.tops[:top], value, *self.tops[top + 1 :])


def walk(
    layers: Iterable[tuple[int, LayerNode]],
    blobs: dict[str, Tensor],
    last: Mapping[int, Sequence[str]],
    *,
    kept: Container[str] = (),
    feed: Callable[[LayerNode], object] | None = None,
    watch: Watch | None = None,
    precision: torch.dtype | None = None,
) -> Iterator[Step]:
    """Runs layers in order, one per step.

    Args:
        layers: with their numbers.
        blobs: the values so far; tops are added, and each blob is removed after its last reader.
        last: layer number -> blobs that no later layer reads (see `last_readers`).
        kept: blobs that are never removed.
        feed: fills the tops of a data layer into `blobs`; data layers make no step.
        watch: sees every layer's bottoms and tops.
        precision: of layers that may compute in 16 bits.

    Raises:
        NetError: a blob that a layer reads is missing.
    """
    watch = watch or Watch()
    for number, layer in layers:
        if feed is not None and isinstance(layer.module, DataLayer):
            feed(layer)
            watch.tops(layer, {name: blobs[name] for name in layer.tops if name in blobs})
            continue
        step = _step(number, layer, blobs, watch, precision)
        watch.tops(layer, dict(zip(layer.tops, step.tops, strict=True)))
        yield step
        blobs.update(zip(layer.tops, step.tops, strict=True))
        step.bottoms = step.tops = ()
        for name in last.get(number, ()):
            if name not in kept:
                blobs.pop(name, None)


def last_readers(layers: Iterable[LayerNode]) -> dict[int, list[str]]:
    """Layer number -> blobs that no later layer reads (outputs are never in the lists)."""
    last: dict[str, int] = {}
    for number, layer in enumerate(layers):
        last.update(dict.fromkeys(layer.bottoms, number))
        for name in layer.tops:
            last.pop(name, None)
    out: dict[int, list[str]] = {}
    for name, number in last.items():
        out.setdefault(number, []).append(name)
    return out


def readers(layers: Sequence[Numbered]) -> dict[int, list[str]]:
    """`last_readers` of layers that have numbers of their own."""
    numbers = [number for number, _ in layers]
    return {numbers[place]: names for place, names in last_readers([one for _, one in layers]).items()}


def _step(
    number: int,
    layer: LayerNode,
    blobs: Mapping[str, Tensor],
    watch: Watch,
    precision: torch.dtype | None,
) -> Step:
    bottoms = tuple(watch.bottoms(layer, _bottoms(layer, blobs)))
    tops = run_layer(layer.module, bottoms, precision)
    return Step(number, layer, bottoms, tops if isinstance(tops, tuple) else (tops,))


def _bottoms(layer: LayerNode, blobs: Mapping[str, Tensor]) -> list[Tensor]:
    """The layer's bottoms; detached if propagate_down is false."""
    try:
        values = [blobs[name] for name in layer.bottoms]
    except KeyError as error:
        raise layer.module.error(
            f"its bottom {error.args[0]!r} was not given",
            found=", ".join(sorted(blobs)),
            expected=error.args[0],
            advice="give all tops of the data layer, or run only part of the net: net.run(..., until=[blob])",
        ) from None
    if torch.is_grad_enabled():
        for index in layer.node.blocked:
            values[index] = values[index].detach()
    return values
