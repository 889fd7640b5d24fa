"""A file that holds one BlobProto: an infogain matrix, a mean image."""

from __future__ import annotations

import os

from rlossctl.weights import wire
from rlossctl.weights.blobs import Blob
from rlossctl.weights.parse import parse_blob


def load_blob(path: str | os.PathLike[str]) -> Blob:
    """Reads the one BlobProto of a binary file; the values stay in the file until they are asked for.

    Raises:
        WeightsError: the file is missing, empty or damaged.
    """
    source = wire.open_source(path)
    return parse_blob(source, 0, len(source.view), "the file's one blob")
