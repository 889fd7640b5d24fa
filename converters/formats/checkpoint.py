"""PyTorch checkpoint: {"state_dict": {"<layer>/<index>": tensor}, "shared", "prototxt", "source"}, and
"caffemodel" if it was made from one (see rlossctl.weights.caffemodel_frame).

It has only tensors, text and plain containers, so `torch.load(path, weights_only=True)` reads it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.converters.verifying.comparison import Verification, accept, compare_params
from rlossctl.files import atomic_write

if TYPE_CHECKING:
    from rlossctl.converters.nets.inference_net import TrainedNet


def write(trained: TrainedNet, out: Path) -> Verification:
    """Writes the file and compares every blob, bit for bit, with the serialized bytes read back."""
    import torch

    from rlossctl.converters.formats import flat_names

    arrays = {name: blob.cpu().numpy() for name, blob in flat_names.owned_blobs(trained.net).items()}
    data = encode(arrays, flat_names.metadata(trained))
    found = torch.load(io.BytesIO(data), weights_only=True)["state_dict"]
    read = {name: tensor.numpy() for name, tensor in found.items()}
    comparisons = tuple(compare_params(read, flat_names.arrays(trained.net)))
    verification = accept(Verification(str(out), "blobs read back", 0.0, comparisons, trained.notes))
    with atomic_write(out) as file:
        file.write(data)
    return verification


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The file's bytes; `shared`, `source` and `untrained`, JSON in other formats, are containers here."""
    import torch

    content = {
        "state_dict": {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()},
        **{
            key: json.loads(text) if key in ("shared", "source", "untrained") else text
            for key, text in metadata.items()
        },
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
