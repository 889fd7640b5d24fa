"""Shapes of tops for any shapes of bottoms, from the layers' own forwards on meta tensors.

Torch works out the shapes of plain arithmetic in Python, and imports its compiler for it, which takes a
second. Layers that say `keeps_shape` do without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch

from rlossctl.net.alike import once_if_alike
from rlossctl.net.layer import Layer, Shape
from rlossctl.net.walk import LayerNode


class Top(NamedTuple):
    """A top's shape, and the number of the bottom that it is, if the layer passes that on unchanged."""

    shape: Shape
    bottom: int | None


@once_if_alike
@torch.no_grad()
def tops_of(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Top, ...]:
    """The tops of a layer for bottoms of these shapes, worked out without memory for its blobs.

    Raises:
        RuntimeError, NetError: the layer does not take such bottoms.
    """
    if layer.keeps_shape and layer.setup.tops == 1 and len(set(bottoms)) == 1:
        return (Top(tuple(bottoms[0]), None),)
    named = (*layer.named_parameters(), *layer.named_buffers())  # tied blobs once
    # Not empty_like, which imports sympy.
    state = {name: torch.empty(value.shape, dtype=value.dtype, device="meta") for name, value in named}
    values = tuple(torch.empty(shape, device="meta") for shape in bottoms)
    tops = torch.func.functional_call(layer, state, values)
    return tuple(
        Top(tuple(top.shape), next((n for n, bottom in enumerate(values) if bottom is top), None))
        for top in (tops if isinstance(tops, tuple) else (tops,))
    )


def sized(
    layers: Iterable[LayerNode], inputs: Mapping[str, Shape]
) -> Iterator[tuple[LayerNode, tuple[Top, ...]]]:
    """A pass in which every blob is only a shape: each layer with its tops."""
    shapes = dict(inputs)
    for layer in layers:
        tops = tops_of(layer.module, tuple(shapes[name] for name in layer.bottoms))
        shapes.update((name, top.shape) for name, top in zip(layer.tops, tops, strict=True))
        yield layer, tops
