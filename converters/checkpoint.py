"""PyTorch checkpoint: {"state_dict": {"<layer>/<index>": tensor}, "shared", "prototxt", "source"}.

Tensors, text and plain containers only, so `torch.load(path, weights_only=True)` reads it.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from rlossctl.converters import blobs
from rlossctl.converters.source import ConversionSource
from rlossctl.converters.verify import Verification, accept, compare_params

from rlossctl.files import atomic_write


def write(source: ConversionSource, out: Path) -> Verification:
    """Writes the file and compares every blob, bit for bit, with the serialized bytes read back."""
    content = {
        "state_dict": {name: blob.cpu().clone() for name, blob in blobs.owned_blobs(source.net).items()},
        "shared": blobs.sharing(source.net),
        "prototxt": source.net_text(),
        "source": source.origin(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    found = torch.load(buffer, weights_only=True)["state_dict"]
    arrays = {name: tensor.numpy() for name, tensor in found.items()}
    comparisons = tuple(compare_params(arrays, blobs.arrays(source.net)))
    verification = accept(Verification(str(out), "blobs read back", 0.0, comparisons, source.notes))
    with atomic_write(out) as file:
        file.write(buffer.getbuffer())
    return verification
