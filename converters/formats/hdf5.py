"""HDF5 caffemodel, as Caffe's Net::ToHDF5 writes it: blobs under the layer that owns them."""

from __future__ import annotations

import json
from pathlib import Path

from rlossctl.converters.nets.inference_net import TrainedNet
from rlossctl.converters.verifying.comparison import Verification, accept, compare_params
from rlossctl.files import atomic_path
from rlossctl.net.saved import hdf5_layers
from rlossctl.weights import load_caffemodel, provenance, write_caffemodel_h5


def write(trained: TrainedNet, out: Path) -> Verification:
    """Writes the file and compares every owned blob, bit for bit, before it gets its name."""
    layers = list(hdf5_layers(trained.net))
    expected = {f"{name}/{index}": array for name, arrays in layers for index, array in arrays.items()}
    with atomic_path(out) as written:
        write_caffemodel_h5(written, layers, {provenance.KEY: json.dumps(trained.provenance())})
        found = {
            f"{layer.name}/{index}": blob.array()
            for layer in load_caffemodel(written).layers
            for index, blob in enumerate(layer.blobs)
            if blob is not None
        }
        comparisons = tuple(compare_params(found, expected))
        return accept(Verification(str(out), "blobs read back", 0.0, comparisons, trained.notes))
