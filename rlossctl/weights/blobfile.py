"""Files with a single BlobProto: an infogain matrix or a mean image."""

from __future__ import annotations

import os

from rlossctl.weights import wire
from rlossctl.weights.blobs import Blob
from rlossctl.weights.parse import parse_blob


def load_blob(path: str | os.PathLike[str]) -> Blob:
    """Reads the one BlobProto of a binary file; the values stay in the file until they are needed.

    Raises:
        WeightsError: the file is missing, empty or damaged.
    """
    source = wire.open_source(path)
    return parse_blob(source, 0, len(source.view), "the file's one blob")
