"""Folds the statistics of a list of images into BN's scale and shift, as SegNet's compute_bn_statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.errors import UsageError
from rlossctl.layers.segnet import BN, EPSILON
from rlossctl.net import Net
from rlossctl.prototxt.messages import BNParameter
from rlossctl.words import counted


class _Statistics:
    """A BN layer's batch mean and biased batch variance, averaged over batches."""

    def __init__(self, module: BN) -> None:
        self.mean = self.variance = torch.zeros((), dtype=torch.float64)
        self.batches = 0
        self.hook = module.register_forward_pre_hook(self._add)

    def _add(self, module: BN, bottoms: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(bottoms[0].double(), (0, 2, 3), correction=0, keepdim=True)
        self.mean = self.mean + mean
        self.variance = self.variance + variance
        self.batches += 1


@torch.no_grad()
def fold_bn(net: Net) -> tuple[str, ...]:
    """Switches every BN layer from mode LEARN to mode INFERENCE, in place.

    The net's data layer supplies each sample of its list once (the last batch is filled from the start). The
    statistics are each batch's mean and biased variance, averaged over batches. The original tries to make
    the variance unbiased, but it divides integers, so its factor is 1.

    Returns:
        A sentence on what was done.

    Raises:
        UsageError: the net has no BN layer that learns, or no data layer that reads a list.
    """
    layers = [
        (layer, layer.module) for layer in net.layers if isinstance(layer.module, BN) and layer.module.learns
    ]
    readers = [layer for layer in net.layers if layer.name in net.sources]
    if not layers or not readers:
        raise UsageError(
            "has nothing to fold" if not layers else "has no data layer to read the list with",
            where=net.file.path,
            found=f"{len(layers)} BN layers with bn_mode LEARN, {len(readers)} data layers with a list",
            expected="the training prototxt: BN layers that learn, and the data layer that they learned from",
            advice="leave out --fold-bn, or give the training prototxt",
        )
    batch = net.shapes[readers[0].tops[0]][0]
    samples = int(net.sources[readers[0].name].state()["samples"])
    statistics = [_Statistics(module) for _, module in layers]
    for _ in range(-(-samples // batch)):
        net.run(until=[layer.tops[0] for layer, _ in layers])
    for (layer, module), values in zip(layers, statistics, strict=True):
        values.hook.remove()
        _fold(module, values.mean / values.batches, values.variance / values.batches)
        layer.message.bn_param.bn_mode = BNParameter.INFERENCE
    return (
        f"folded {counted(len(layers), 'BN layer')}, using {counted(samples, 'image')} in batches of {batch}",
    )


def _fold(module: BN, mean: Tensor, variance: Tensor) -> None:
    scale, shift = module.blobs
    factor = scale.double() / torch.sqrt(variance + EPSILON)
    shift.copy_(shift.double() - mean * factor)
    scale.copy_(factor)
    module.learns = False
