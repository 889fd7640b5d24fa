"""Mean files (`compute_image_mean`): one BlobProto, the mean of every pixel of the training images."""

from __future__ import annotations

import os

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.files import atomic_write
from rlossctl.weights import encode, wire
from rlossctl.weights.magic import refuse_foreign
from rlossctl.weights.parse import parse_blob

EXPECTED = "a mean file (BlobProto, .binaryproto)"


def load_mean(path: str | os.PathLike[str]) -> np.ndarray:
    """The mean image, float32 [C, H, W], channels in the data's order (blue first).

    Raises:
        WeightsError: the file is missing, truncated, damaged, of another kind, or does not hold one image.
    """
    source = wire.open_source(path)
    refuse_foreign(source, EXPECTED)
    shape = (blob := parse_blob(source, 0, len(source.view), "the mean")).shape
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise WeightsError(
            "the file does not hold a mean image",
            where=path,
            found=f"a blob of shape {shape}",
            expected="shape (1, C, H, W) or (C, H, W)",
            advice="name a file written by compute_image_mean",
        )
    return np.array(blob.array(), np.float32).reshape(shape[-3:])


def write_mean(path: str | os.PathLike[str], mean: np.ndarray) -> None:
    """Writes float32 [C, H, W] as compute_image_mean does: four legacy integers, packed data."""
    array = np.ascontiguousarray(mean, np.float32)[None]
    with atomic_write(path) as file:
        for piece in encode.blob_pieces(array, legacy=True):
            file.write(piece)
