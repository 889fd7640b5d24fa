"""A net's blobs under flat names, for formats that hold a dictionary of tensors."""

from __future__ import annotations

import json

import numpy as np
from torch import Tensor

from rlossctl.converters.nets.inference_net import TrainedNet
from rlossctl.net import Net
from rlossctl.net.saved import as_array
from rlossctl.weights import provenance


def owned_blobs(net: Net) -> dict[str, Tensor]:
    """`<layer>/<index>` -> tensor; each shared blob once, under its owner's name."""
    return {f"{entry.layer}/{entry.index}": entry.tensor.detach() for entry in net.learnable}


def sharing(net: Net) -> dict[str, str]:
    """`<layer>/<index>` of every sharer -> the owner's name."""
    owners = {id(entry.tensor): f"{entry.layer}/{entry.index}" for entry in net.learnable}
    names = (
        (f"{layer}/{index}", owners[id(blob)])
        for layer, blobs in net.params.items()
        for index, blob in enumerate(blobs)
    )
    return {name: owner for name, owner in names if name != owner}


def arrays(net: Net) -> dict[str, np.ndarray]:
    """Owned blobs as float32 arrays."""
    return {name: as_array(blob) for name, blob in owned_blobs(net).items()}


def metadata(trained: TrainedNet) -> dict[str, str]:
    """The tensors' metadata: the net, what its layers share, the files' names and hashes, and layers that had
    no weights."""
    untrained = {"untrained": json.dumps(list(trained.untrained))} if trained.untrained else {}
    return {
        "prototxt": trained.net_text(),
        "shared": json.dumps(sharing(trained.net)),
        provenance.KEY: json.dumps(trained.provenance()),
        **untrained,
    }
