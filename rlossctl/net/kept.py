"""How much of a training net's forward pass autograd keeps for the backward pass, before any is allocated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rlossctl.net.layer import DataLayer, Layer, Shape
from rlossctl.net.walk import LayerNode, Watch, last_readers, walk


def kept_for_backward(layers: Sequence[LayerNode], shapes: Mapping[str, Shape]) -> dict[Layer, int]:
    """Bytes that autograd keeps, by the layer that asks for them, measured by a pass on meta tensors.

    Args:
        layers: those of a net whose learned blobs are still on the meta device.
        shapes: of the blobs by name.

    What several layers keep counts once, and learned blobs do not count. A layer that computes nothing on
    meta tensors counts as 0.
    """
    watch = _Kept([blob for node in layers for blob in node.module.blobs])
    computed = [(number, node) for number, node in enumerate(layers) if not _fed(node)]
    made = {name for _, node in computed for name in node.tops}
    given = {name for node in layers for name in (*node.bottoms, *(node.tops if _fed(node) else ()))} - made
    blobs = {name: torch.empty(shapes[name], device="meta") for name in given}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(watch.pack, _unpack):
        for _ in walk(computed, blobs, last_readers(layers), watch=watch):
            pass
    return watch.kept


def _fed(node: LayerNode) -> bool:
    return isinstance(node.module, DataLayer)


class _Kept(Watch):
    """Adds up what the layer that runs saves."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        self.kept: dict[Layer, int] = {}
        self._seen = {blob.untyped_storage()._cdata: blob.untyped_storage() for blob in known}
        self._running: Layer | None = None

    def bottoms(self, layer: LayerNode, values: Sequence[Tensor]) -> Sequence[Tensor]:
        self._running = layer.module
        return values

    def pack(self, tensor: Tensor) -> Tensor:
        """Autograd saves a tensor."""
        storage = tensor.untyped_storage()
        if self._running is not None and storage._cdata not in self._seen:
            self._seen[storage._cdata] = storage  # held, so that no other storage gets its number
            self.kept[self._running] = self.kept.get(self._running, 0) + storage.nbytes()
        return tensor


def _unpack(tensor: Tensor) -> Tensor:
    return tensor
