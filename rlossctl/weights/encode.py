"""Encoding BlobProto and LayerParameter as Caffe does, as lists of buffers: no value is copied twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights import wire
from rlossctl.weights.wire import Source

Piece = bytes | memoryview  # of bytes

MESSAGE_LIMIT = 2**31 - 1  # protobuf refuses larger messages


def blob_pieces(array: np.ndarray, diff: np.ndarray | None = None, legacy: bool = False) -> list[Piece]:
    """One BlobProto in protobuf's order: four legacy ints or, at the end, a shape; packed data; packed diff.

    Blob::ToProto adds dimensions one by one, so a blob without axes gets no shape message at all. A list
    without values is not written.
    """
    values = np.asarray(array, "<f4")
    pieces: list[Piece] = []
    if legacy:
        pieces += [
            wire.encode_int(number, dim) for number, dim in zip(range(1, 5), values.shape, strict=True)
        ]
    pieces += _packed(5, values)
    if diff is not None:
        pieces += _packed(6, np.asarray(diff, "<f4"))
    if values.ndim and not legacy:
        dims = b"".join(wire.encode_varint(dim) for dim in values.shape)
        pieces.append(wire.encode_bytes(7, wire.encode_bytes(1, dims)))
    return pieces


def framed(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    """`pieces` as the payload of length-delimited field `number`."""
    length = size(pieces)
    return [wire.encode_head(number, length), *pieces]


def size(pieces: Iterable[Piece]) -> int:
    """Total number of bytes."""
    return sum(memoryview(piece).nbytes for piece in pieces)


def layer_pieces(
    message: bytes, arrays: Sequence[np.ndarray], diffs: Sequence[np.ndarray] = (), *, name: str = "message"
) -> list[Piece]:
    """A LayerParameter with its blobs (field 7) between the fields with lower and higher numbers.

    Fields are sorted by number (fields with the same number keep their order), as in protobuf's C++
    serializer.

    Raises:
        WeightsError: `message` is not a LayerParameter or already holds blobs, or the diffs do not match.
    """
    source = Source(name, memoryview(message))
    fields = sorted(wire.walk(source, 0, len(message), "LayerParameter"), key=lambda field: field.number)
    if any(field.number == 7 for field in fields) or (diffs and len(diffs) != len(arrays)):
        raise WeightsError(
            "the layer's blobs cannot be written",
            where=name,
            found=f"{sum(field.number == 7 for field in fields)} blobs in the message, {len(arrays)} arrays, "
            f"{len(diffs)} diffs",
            expected="a message without blobs, and either no diff or one for each array",
            advice="serialize the layer without its blobs and give them as arrays",
        )
    before = b"".join(message[field.at : field.end] for field in fields if field.number < 7)
    behind = b"".join(message[field.at : field.end] for field in fields if field.number > 7)
    pieces: list[Piece] = [before]
    for index, array in enumerate(arrays):
        pieces += framed(7, blob_pieces(array, diffs[index] if diffs else None))
    return [*pieces, behind]


def _packed(number: int, values: np.ndarray) -> list[Piece]:
    if values.size == 0:
        return []
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return [wire.encode_head(number, data.nbytes), data.data]
