"""What a pass on meta tensors tells of a layer: the shapes of its tops, and its products with weights.

Torch works out the shapes of plain arithmetic in Python, and imports its compiler for it, which takes a
second. So a layer that knows the answer itself is not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from rlossctl.net.alike import once_if_alike
from rlossctl.net.layer import Layer, Shape
from rlossctl.net.outline import Top
from rlossctl.net.walk import LayerNode


def tops_of(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Top, ...]:
    """The tops of a layer for bottoms of these shapes, worked out without memory for its blobs.

    Raises:
        RuntimeError, NetError: the layer does not take such bottoms.
    """
    known = layer.sized(bottoms)
    return measured_tops(layer, bottoms) if known is None else known


@once_if_alike
@torch.no_grad()
def measured_tops(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Top, ...]:
    """The same, always from the forward."""
    values, tops = _meta_pass(layer, bottoms)
    return tuple(
        Top(tuple(top.shape), next((n for n, bottom in enumerate(values) if bottom is top), None))
        for top in (tops if isinstance(tops, tuple) else (tops,))
    )


@once_if_alike
@torch.no_grad()
def measured_multiply_adds(layer: Layer) -> int:
    """What torch's own flop counter counts in a pass of a layer on the shapes it was made for."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _meta_pass(layer, tuple(layer.setup.bottoms))
    return counter.get_total_flops() // 2


def _meta_pass(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[tuple[torch.Tensor, ...], Any]:
    named = (*layer.named_parameters(), *layer.named_buffers())  # tied blobs once
    # Not empty_like, which imports sympy.
    state = {name: torch.empty(value.shape, dtype=value.dtype, device="meta") for name, value in named}
    values = tuple(torch.empty(shape, device="meta") for shape in bottoms)
    return values, torch.func.functional_call(layer, state, values)


def sized(
    layers: Iterable[LayerNode], inputs: Mapping[str, Shape]
) -> Iterator[tuple[LayerNode, tuple[Top, ...]]]:
    """A pass in which every blob is only a shape: each layer with its tops."""
    shapes = dict(inputs)
    for layer in layers:
        tops = tops_of(layer.module, tuple(shapes[name] for name in layer.bottoms))
        shapes.update((name, top.shape) for name, top in zip(layer.tops, tops, strict=True))
        yield layer, tops
