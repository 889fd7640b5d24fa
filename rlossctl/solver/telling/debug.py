"""debug_info: the mean magnitude of every blob and gradient, as Net::ForwardDebugInfo print it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rlossctl.net import Net
from rlossctl.net.sharing import param_spec
from rlossctl.net.walk import LayerNode, Watch
from rlossctl.solver.telling.log import Log, number


class DebugInfo(Watch):
    """Writes Caffe's [Forward] lines while a net runs, and its [Backward] lines after autograd has run.

    There are no lines of Split layers, which are not in our graphs. A layer's gradient is that of its own
    reading of a blob, as behind Caffe's Splits; that of a shared parameter is the sum over all layers that
    share it.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._diffs: dict[tuple[LayerNode, int], float] = {}

    def bottoms(self, layer: LayerNode, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """Marks the layer's readings, so that their gradients are seen."""
        return [self._marked((layer, index), value) for index, value in enumerate(values)]

    def tops(self, layer: LayerNode, values: Mapping[str, Tensor]) -> None:
        """Writes the layer's [Forward] lines."""
        start = f"    [Forward] Layer {layer.name},"
        for name, value in values.items():
            self._log.info(f"{start} top blob {name} data: {number(_mean(value))}")
        for index, blob in enumerate(layer.module.blobs):
            name = param_spec(layer.node, index).name or str(index)
            self._log.info(f"{start} param blob {name} data: {number(_mean(blob))}")

    def after_backward(self, net: Net) -> None:
        """Writes the [Backward] lines of the pass, and forgets it."""
        for layer in reversed(net.layers):
            start = f"    [Backward] Layer {layer.name},"
            for index, name in enumerate(layer.bottoms):
                if (layer, index) in self._diffs:
                    self._log.info(f"{start} bottom blob {name} diff: {number(self._diffs[layer, index])}")
            for index, blob in enumerate(layer.module.blobs):
                if blob.grad is not None:
                    self._log.info(f"{start} param blob {index} diff: {number(_mean(blob.grad))}")
        self._diffs.clear()
        data = [entry.tensor for entry in net.learnable]
        diffs = [entry.tensor.grad for entry in net.learnable if entry.tensor.grad is not None]
        first, second = ([number(_norm(blobs, order)) for blobs in (data, diffs)] for order in (1, 2))
        self._log.error(
            f"    [Backward] All net params (data, diff): L1 norm = ({', '.join(first)}); "
            f"L2 norm = ({', '.join(second)})"
        )

    def _marked(self, key: tuple[LayerNode, int], value: Tensor) -> Tensor:
        if not value.requires_grad:
            return value
        reading = value.view_as(value)
        reading.register_hook(lambda diff: self._diffs.__setitem__(key, _mean(diff)))
        return reading


def _mean(blob: Tensor) -> float:
    return blob.detach().abs().mean().item() if blob.numel() else 0.0


def _norm(blobs: Sequence[Tensor], order: int) -> float:
    powers = [blob.detach().abs().pow(order).sum(dtype=torch.float64).item() for blob in blobs]
    return sum(powers) ** (1 / order)
