"""Binary caffemodel, layer by layer, as Caffe's Net::ToProto writes it."""

from __future__ import annotations

from pathlib import Path

from rlossctl.converters.nets.inference_net import TrainedNet
from rlossctl.converters.verifying.comparison import Verification, accept, compare_params
from rlossctl.files import atomic_path
from rlossctl.net.saved import as_array, layer_records
from rlossctl.weights import load_caffemodel, write_caffemodel


def write(trained: TrainedNet, out: Path) -> Verification:
    """Writes the file and compares every blob of every layer, bit for bit, before it gets its name."""
    net = trained.net
    with atomic_path(out) as written:
        write_caffemodel(written, net.name, layer_records(net), list(net.param.input))
        found = {
            f"{layer.name}/{index}": blob.array().reshape(blob.shape)
            for layer in load_caffemodel(written).layers
            for index, blob in enumerate(layer.blobs)
            if blob is not None
        }
        expected = {
            f"{layer}/{index}": as_array(blob)
            for layer, blobs in net.params.items()
            for index, blob in enumerate(blobs)
        }
        comparisons = tuple(compare_params(found, expected))
        return accept(Verification(str(out), "blobs read back", 0.0, comparisons, trained.notes))
