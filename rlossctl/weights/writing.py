"""Writing a .caffemodel byte for byte as Caffe's Net::ToProto does, layer after layer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.files import atomic_write
from rlossctl.weights import encode, wire


class LayerRecord(NamedTuple):
    """One layer as it is written.

    Attributes:
        message: serialized LayerParameter without blobs.
        arrays: one float array per blob, in Caffe's order; written as float32 with its shape.
        diffs: gradients for `snapshot_diff`: none, or one per blob.
    """

    message: bytes
    arrays: Sequence[np.ndarray] = ()
    diffs: Sequence[np.ndarray] = ()


def write_caffemodel(
    path: str | os.PathLike[str],
    name: str,
    layers: Iterable[LayerRecord | tuple],
    inputs: Sequence[str] = (),
) -> None:
    """Writes a binary caffemodel atomically. The memory in use is one layer's headers.

    Args:
        path: the file to write.
        name: the net's name.
        layers: `LayerRecord`s, or tuples in the same order; may be a generator.
        inputs: names of the net's inputs, which the rloss fork writes (field 3) and BVLC does not.

    Raises:
        WeightsError: a message is damaged or holds blobs, or the file would exceed protobuf's 2 GiB.
        RlossError: the file cannot be written.
    """
    with atomic_write(path) as file:
        written = file.write(wire.encode_bytes(1, name.encode()))
        for top in inputs:
            written += file.write(wire.encode_bytes(3, top.encode()))
        for index, entry in enumerate(layers):
            record = LayerRecord(*entry)
            where = f"{os.fspath(path)}: layer number {index + 1}"
            pieces = encode.layer_pieces(record.message, record.arrays, record.diffs, name=where)
            pieces = encode.framed(100, pieces)
            written += encode.size(pieces)
            if written > encode.MESSAGE_LIMIT:
                raise WeightsError(
                    "the model is too large for a binary caffemodel",
                    where=where,
                    found=f"more than {encode.MESSAGE_LIMIT} bytes",
                    expected="less than 2 GiB, protobuf's limit",
                    advice="write HDF5 (.caffemodel.h5, snapshot_format: HDF5) or .safetensors",
                )
            for piece in pieces:
                file.write(piece)
