"""What `rlossctl inspect` says about a net: shapes, parameters, multiply-adds, memory, receptive field.

No weight is allocated. Torch's own flop counter counts the multiply-adds of layers that do not know theirs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from math import prod

from rlossctl.net.draft import Draft, Drafted, whole
from rlossctl.net.outline import DataOutline, Shape
from rlossctl.net.sharing import Kind

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
        return {**vars(self), "layers": [dict(vars(layer)) for layer in self.layers]}  # asdict is slow


def summarize(draft: Draft[Kind]) -> NetSummary:
    """Summary of a net that need not be built."""
    sharers = {(id(layer), index) for owner in draft.owners for layer, index in owner.sharers}
    fields = _Fields(draft.inputs[:1])
    layers = tuple(_summarize_layer(draft, entry, sharers, fields) for entry in draft.layers)
    parameters = sum(prod(owner.layer.blob_shapes[owner.index]) for owner in draft.owners)
    return NetSummary(
        name=draft.name,
        phase=draft.phase,
        dialect=draft.dialect,
        dialect_reason=draft.dialect_reason,
        inputs=tuple(draft.inputs),
        outputs=tuple(draft.graph.outputs),
        layers=layers,
        parameters=parameters,
        parameter_bytes=parameters * FLOAT_BYTES,
        blob_bytes=sum(prod(shape) for shape in draft.shapes.values()) * FLOAT_BYTES,
        multiply_adds=sum(layer.multiply_adds for layer in layers),
    )


def _summarize_layer(
    draft: Draft[Kind], entry: Drafted[Kind], sharers: Container[tuple[int, int]], fields: _Fields
) -> LayerSummary:
    layer, shapes = entry.layer, tuple(draft.shapes[top] for top in entry.tops)
    blobs = layer.blob_shapes
    field, stride = fields.through(entry)
    return LayerSummary(
        name=entry.name,
        type=entry.type,
        bottoms=entry.bottoms,
        tops=entry.tops,
        shapes=shapes,
        parameters=sum(map(prod, blobs)),
        shared=bool(blobs) and all((id(layer), index) in sharers for index in range(len(blobs))),
        multiply_adds=_multiply_adds(entry, shapes),
        receptive_field=field,
        stride=stride,
        where=entry.node.where,
    )


def _multiply_adds(entry: Drafted[Kind], tops: tuple[Shape, ...]) -> int:
    if isinstance(entry.layer, DataOutline):
        return 0
    known = entry.layer.multiply_adds(tops)
    if known is not None:
        return known
    from rlossctl.net.tops import measured_multiply_adds

    return measured_multiply_adds(whole(entry.node, entry.layer))


class _Fields:
    """Receptive field and stride (in input pixels) of every blob so far."""

    def __init__(self, inputs: Iterable[str]) -> None:
        self._blobs = dict.fromkeys(inputs, (1.0, 1.0))

    def through(self, entry: Drafted[Kind]) -> tuple[float | None, float | None]:
        """Field and stride of the layer's tops, which it remembers."""
        if isinstance(entry.layer, DataOutline):
            self._blobs.update(dict.fromkeys(entry.tops[:1], (1.0, 1.0)))
            return None, None
        known = [self._blobs[name] for name in entry.bottoms if name in self._blobs]
        if not known:
            return None, None
        field, stride = max(known)
        extent, step = entry.layer.window()
        result = (field + (extent - 1) * stride, stride * step)
        self._blobs.update(dict.fromkeys(entry.tops, result))
        return result
