"""safetensors: owned blobs as `<layer>/<index>`; the prototxt, sharing and hashes as metadata."""

from __future__ import annotations

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
    from safetensors.numpy import load

    from rlossctl.converters.formats import flat_names

    arrays = flat_names.arrays(trained.net)
    data = encode(arrays, flat_names.metadata(trained))
    comparisons = tuple(compare_params(load(data), arrays))
    verification = accept(Verification(str(out), "blobs read back", 0.0, comparisons, trained.notes))
    with atomic_write(out) as file:
        file.write(data)
    return verification


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The file's bytes."""
    from safetensors.numpy import save

    return save({name: np.asarray(array, order="C") for name, array in tensors.items()}, dict(metadata))
