"""What `rlossctl inspect` says about a net: shapes, parameters, multiply-adds, memory, receptive field.

Everything is measured on meta tensors, so no weight is allocated. Torch's own flop counter counts the
multiply-adds of layers that do not know theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import prod

import torch

from rlossctl.net.alike import once_if_alike
from rlossctl.net.layer import DataLayer, Layer, Shape
from rlossctl.net.net import Net
from rlossctl.net.walk import LayerNode

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerSummary:
    """One layer. multiply_adds counts one forward pass of the whole batch. receptive_field is the width in
    input pixels that one value of the first top sees (None if the layer does not depend on the image)."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[Shape, ...]
    parameters: int
    shared: bool
    multiply_adds: int
    receptive_field: float | None
    stride: float | None
    where: str


@dataclass(frozen=True)
class NetSummary:
    """A net; memory in bytes, for float32."""

    name: str
    phase: str
    dialect: str
    dialect_reason: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LayerSummary, ...]
    parameters: int
    parameter_bytes: int
    blob_bytes: int
    multiply_adds: int

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def summarize(net: Net) -> NetSummary:
    """Summary of a net, which may have been built on the meta device."""
    seen: set[int] = set()
    fields = _Fields(net.inputs[:1])
    layers = tuple(_summarize_layer(net, layer, seen, fields) for layer in net.layers)
    parameters = sum(layer.parameters for layer in layers if not layer.shared)
    return NetSummary(
        name=net.name,
        phase=net.phase,
        dialect=net.dialect,
        dialect_reason=net.dialect_reason,
        inputs=tuple(net.inputs),
        outputs=tuple(net.outputs),
        layers=layers,
        parameters=parameters,
        parameter_bytes=parameters * FLOAT_BYTES,
        blob_bytes=sum(prod(shape) for shape in net.shapes.values()) * FLOAT_BYTES,
        multiply_adds=sum(layer.multiply_adds for layer in layers),
    )


def _summarize_layer(net: Net, layer: LayerNode, seen: set[int], fields: _Fields) -> LayerSummary:
    blobs = list(layer.module.blobs)
    shared = bool(blobs) and all(id(blob) in seen for blob in blobs)
    seen.update(id(blob) for blob in blobs)
    field, stride = fields.through(layer)
    return LayerSummary(
        name=layer.name,
        type=layer.type,
        bottoms=layer.bottoms,
        tops=layer.tops,
        shapes=tuple(net.shapes[top] for top in layer.tops),
        parameters=sum(blob.numel() for blob in blobs),
        shared=shared,
        multiply_adds=_multiply_adds(layer.module, tuple(net.shapes[top] for top in layer.tops)),
        receptive_field=field,
        stride=stride,
        where=layer.node.where,
    )


@once_if_alike
def _multiply_adds(layer: Layer, tops: tuple[Shape, ...]) -> int:
    if isinstance(layer, DataLayer):
        return 0
    known = layer.multiply_adds(tops)
    if known is not None:
        return known
    from torch.utils.flop_counter import FlopCounterMode

    bottoms = [torch.empty(shape, device="meta") for shape in layer.setup.bottoms]
    named = (*layer.named_parameters(), *layer.named_buffers())  # tied blobs once
    state = {name: torch.empty_like(blob, device="meta") for name, blob in named}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        torch.func.functional_call(layer, state, tuple(bottoms))
    return counter.get_total_flops() // 2


class _Fields:
    """Receptive field and stride (in input pixels) of every blob so far."""

    def __init__(self, inputs: Iterable[str]) -> None:
        self._blobs = dict.fromkeys(inputs, (1.0, 1.0))

    def through(self, layer: LayerNode) -> tuple[float | None, float | None]:
        """Field and stride of the layer's tops, which it remembers."""
        if isinstance(layer.module, DataLayer):
            self._blobs.update(dict.fromkeys(layer.tops[:1], (1.0, 1.0)))
            return None, None
        known = [self._blobs[name] for name in layer.bottoms if name in self._blobs]
        if not known:
            return None, None
        field, stride = max(known)
        extent, step = layer.module.window()
        result = (field + (extent - 1) * stride, stride * step)
        self._blobs.update(dict.fromkeys(layer.tops, result))
        return result
