"""A net in the form in which Caffe saves it: splits inserted, with phases, blobs by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlossctl.net.net import Net
from rlossctl.prototxt import wire
from rlossctl.prototxt.messages import NetParameter
from rlossctl.prototxt.splits import insert_splits
from rlossctl.weights import LayerRecord


def saved_param(net: Net) -> NetParameter:
    """The NetParameter that Caffe writes (Net::ToProto): with splits, phases, and what layers add themselves.

    A loss layer without loss_weight adds its default; BVLC's BatchNorm adds `lr_mult: 0` for each statistic.
    """
    param = insert_splits(net.param)
    kinds = {layer.name: layer.node.kind for layer in net.layers}
    for layer in param.layer:
        if not layer.HasField("phase"):
            layer.phase = net.param.state.phase
        kind = kinds.get(layer.name)
        if kind is not None and kind.loss_weight and not layer.loss_weight:
            layer.loss_weight.append(kind.loss_weight)
        if layer.type == "BatchNorm" and net.dialect == "bvlc" and len(net.params.get(layer.name, [])) == 3:
            while len(layer.param) < 3:
                layer.param.add().lr_mult = 0
    return param


class Values(NamedTuple):
    """The values of a net's blobs at one moment, by `id` of the blob, while the net goes on to change.

    `diffs`, for snapshot_diff, are what the last update subtracted.
    """

    blobs: Mapping[int, np.ndarray]
    diffs: Mapping[int, np.ndarray] | None = None

    def array(self, blob: Tensor) -> np.ndarray:
        """The blob's."""
        return self.blobs[id(blob)]

    def difference(self, blob: Tensor) -> np.ndarray:
        """What the last update subtracted from it."""
        if self.diffs is None:
            raise ValueError("no differences were kept")
        return self.diffs[id(blob)]


def copied(blobs: Iterable[Tensor], values: Iterable[Tensor]) -> dict[int, np.ndarray]:
    """The values as float32 arrays that nothing else holds, by `id` of their blobs."""
    return {
        id(blob): value.detach().to("cpu", torch.float32, copy=True).numpy()
        for blob, value in zip(blobs, values, strict=True)
    }


def layer_records(net: Net, values: Values | None = None) -> Iterator[LayerRecord]:
    """Every saved layer with all its blobs, for a binary caffemodel. Shared blobs are repeated in each layer.

    Args:
        values: of the blobs; by default those that they have.
    """
    array = as_array if values is None else values.array
    for layer in saved_param(net).layer:
        blobs = net.params.get(layer.name, [])
        del layer.blobs[:]
        yield LayerRecord(
            wire.encode_layer(layer, net.dialect),
            [array(blob) for blob in blobs],
            [values.difference(blob) for blob in blobs] if values and values.diffs is not None else [],
        )


def hdf5_layers(net: Net, values: Values | None = None) -> Iterator[tuple]:
    """Every saved layer's name with the arrays it owns (and the diffs of all its blobs), for HDF5."""
    array = as_array if values is None else values.array
    owned = {(entry.layer, entry.index) for entry in net.learnable}
    for layer in saved_param(net).layer:
        blobs = list(enumerate(net.params.get(layer.name, [])))
        arrays = {index: array(blob) for index, blob in blobs if (layer.name, index) in owned}
        if values is None or values.diffs is None:
            yield layer.name, arrays
        else:
            yield layer.name, arrays, {index: values.difference(blob) for index, blob in blobs}


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor's values as a float32 array on the CPU."""
    return tensor.detach().float().cpu().numpy()
