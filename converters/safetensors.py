"""safetensors: owned blobs as `<layer>/<index>`, the prototxt and the sources' hashes as metadata."""

from __future__ import annotations

import json
from pathlib import Path

from rlossctl.converters import blobs
from rlossctl.converters.source import ConversionSource
from rlossctl.converters.verify import Verification, accept, compare_params

from rlossctl.files import atomic_write


def write(source: ConversionSource, out: Path) -> Verification:
    """Writes the file and compares every blob, bit for bit, with the serialized bytes read back."""
    from safetensors.numpy import load, save

    arrays = blobs.arrays(source.net)
    metadata = {
        "prototxt": source.net_text(),
        "shared": json.dumps(blobs.sharing(source.net)),
        "source": json.dumps(source.origin()),
    }
    data = save(arrays, metadata)
    comparisons = tuple(compare_params(load(data), arrays))
    verification = accept(Verification(str(out), "blobs read back", 0.0, comparisons, source.notes))
    with atomic_write(out) as file:
        file.write(data)
    return verification
