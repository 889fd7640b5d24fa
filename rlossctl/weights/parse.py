"""Reading the headers of layers and blobs in a mapped weights file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlossctl.weights import wire
from rlossctl.weights.blobs import MAX_COUNT, Blob, LayerBlobs, Segment
from rlossctl.weights.legacy import V0_TYPES, V1_TYPES
from rlossctl.weights.wire import FIXED32, FIXED64, LENGTH, VARINT, Field, Source

if TYPE_CHECKING:
    import numpy as np

LEGACY_DIMS = (1, 2, 3, 4)  # num, channels, height, width
DATA, DIFF, SHAPE, DOUBLE_DATA, DOUBLE_DIFF = 5, 6, 7, 8, 9
FLOATS = {DATA: (FIXED32, 4), DIFF: (FIXED32, 4), DOUBLE_DATA: (FIXED64, 8), DOUBLE_DIFF: (FIXED64, 8)}
MAX_AXES = 32  # Caffe's kMaxBlobAxes
RUN_ROWS = 1 << 16  # unpacked values examined in one step


def parse_blob(source: Source, start: int, end: int, inside: str) -> Blob:
    """Reads the headers of the BlobProto in bytes `start:end` without touching the values.

    Raises:
        WeightsError: impossible dimensions, a number of values that does not match the shape, or a
            damaged encoding.
    """
    dims: list[int] = []
    legacy: dict[int, int] = {}
    segments: dict[int, list[Segment]] = {number: [] for number in FLOATS}
    at = start
    while at < end:
        field = wire.read_field(source, at, end, inside)
        at = field.end
        if field.number in FLOATS:
            segment = _segment(source, field, end, inside)
            segments[field.number].append(segment)
            at = max(at, segment.end)
        elif field.number == SHAPE:
            wire.expect_wire(source, field, LENGTH, inside, "a BlobShape")
            dims += _dims(source, field, inside)
        elif field.number in LEGACY_DIMS:
            wire.expect_wire(source, field, VARINT, inside, "a dimension")
            legacy[field.number] = wire.int32(field.value)
    shape = tuple(legacy.get(number, 0) for number in LEGACY_DIMS) if legacy else tuple(dims)
    _check_shape(source, start, shape, inside)
    doubles = any(segment.count for segment in segments[DOUBLE_DATA])
    data = tuple(segments[DOUBLE_DATA if doubles else DATA])
    count = sum(segment.count for segment in data)
    if count != math.prod(shape):
        raise source.error(
            start,
            inside,
            "the number of values does not match the shape",
            found=f"{count} values",
            expected=f"{math.prod(shape)} values for shape {shape}",
        )
    diffs = tuple(segments[DOUBLE_DIFF if any(each.count for each in segments[DOUBLE_DIFF]) else DIFF])
    return Blob(shape, bool(legacy), lambda: _values(source.view, data), data, diffs)


def _segment(source: Source, field: Field, end: int, inside: str) -> Segment:
    packed_as, size = FLOATS[field.number]
    if field.wire == LENGTH:
        count, rest = divmod(field.end - field.start, size)
        if rest:
            raise source.error(
                field.at,
                inside,
                "packed values are cut off",
                found=f"{field.end - field.start} bytes",
                expected=f"a multiple of {size} bytes",
            )
        return Segment(field.start, count, size, size)
    wire.expect_wire(source, field, packed_as, inside, "a list of numbers")
    if field.start != field.at + 1:  # an overlong tag: legal, but then the run has no fixed stride
        return Segment(field.start, 1, size, size)
    return Segment(field.at, _run_length(source.view, field.at, end, size + 1), size, size + 1)


def _run_length(view: memoryview, at: int, end: int, stride: int) -> int:
    """How many consecutive unpacked values have the tag at byte `at`."""
    import numpy as np

    limit = (end - at) // stride
    count = 0
    while count < limit:
        rows = min(RUN_ROWS, limit - count)
        tags = np.frombuffer(view, np.uint8, rows * stride, at + count * stride)[::stride]
        other = np.flatnonzero(tags != view[at])
        if other.size:
            return count + int(other[0])
        count += rows
    return count


def _dims(source: Source, field: Field, inside: str) -> list[int]:
    dims: list[int] = []
    for dim in wire.walk(source, field.start, field.end, inside):
        if len(dims) > MAX_AXES:
            break
        if dim.number != 1:
            continue
        if dim.wire != LENGTH:
            wire.expect_wire(source, dim, VARINT, inside, "a dimension")
            dims.append(wire.int64(dim.value))
            continue
        at = dim.start
        while at < dim.end and len(dims) <= MAX_AXES:
            value, at = wire.read_varint(source, at, dim.end, inside)
            dims.append(wire.int64(value))
    return dims


def _check_shape(source: Source, at: int, shape: tuple[int, ...], inside: str) -> None:
    if len(shape) > MAX_AXES:
        raise source.error(
            at, inside, "too many axes", found=f"more than {MAX_AXES}", expected=f"at most {MAX_AXES}"
        )
    if any(dim < 0 for dim in shape):
        raise source.error(
            at, inside, "a dimension is negative", found=f"shape {shape}", expected="dimensions >= 0"
        )
    if math.prod(dim for dim in shape if dim) > MAX_COUNT:
        raise source.error(
            at,
            inside,
            "the shape is too large",
            found=f"shape {shape}",
            expected=f"at most {MAX_COUNT} values",
        )


def parse_layer(source: Source, field: Field, index: int, v1: bool) -> LayerBlobs:
    """Reads the headers of the layer in `field`, the file's layer number `index` (from 0).

    Raises:
        WeightsError: the layer or one of its blobs is damaged.
    """
    reader = _LayerReader(source, f"layer number {index + 1}")
    parts = reader.v1(field) if v1 else reader.named(field, blobs=7)
    inside = f"layer {reader.name!r}" if reader.name else reader.inside
    blobs = [
        parse_blob(source, blob.start, blob.end, f"{inside}, blob {at}")
        for at, blob in enumerate(reader.blobs)
    ]
    kind = "V1LayerParameter" if v1 else "LayerParameter"
    return LayerBlobs(reader.name, reader.type, blobs, kind, tuple(parts))


class _LayerReader:
    """Collects one layer's name, type and blobs, and returns the bytes between the blobs."""

    def __init__(self, source: Source, inside: str) -> None:
        self.source, self.inside = source, inside
        self.name = self.type = ""
        self.blobs: list[Field] = []

    def named(self, message: Field, blobs: int) -> list[bytes | memoryview]:
        """LayerParameter and V0LayerParameter: name and type are the strings in fields 1 and 2."""
        parts: list[bytes | memoryview] = []
        for field in wire.walk(self.source, message.start, message.end, self.inside):
            if field.number == blobs:
                self._expect(field, LENGTH, "a blob")
                self.blobs.append(field)
                continue
            if field.number == 1:
                self._expect(field, LENGTH, "a layer name")
                self.name = wire.text(self.source, field)
            elif field.number == 2:
                self._expect(field, LENGTH, "a layer type")
                self.type = wire.text(self.source, field)
            parts.append(self.source.view[field.at : field.end])
        return parts

    def v1(self, message: Field) -> list[bytes | memoryview]:
        """V1LayerParameter: a V0 layer inside it (field 1) gives the name and type; its blobs come last."""
        parts: list[bytes | memoryview] = []
        nested: list[Field] = []
        for field in wire.walk(self.source, message.start, message.end, self.inside):
            if field.number in (1, 6):
                self._expect(field, LENGTH, "a V0 layer" if field.number == 1 else "a blob")
                (nested if field.number == 1 else self.blobs).append(field)
                continue
            if field.number == 4:
                self._expect(field, LENGTH, "a layer name")
                self.name = wire.text(self.source, field)
            elif field.number == 5:
                self._expect(field, VARINT, "a layer type")
                self.type = V1_TYPES.get(wire.int32(field.value), "")
            parts.append(self.source.view[field.at : field.end])
        return [*(self._v0(field) for field in nested), *parts]

    def _v0(self, field: Field) -> bytes:
        inner = b"".join(self.named(field, blobs=50))
        self.type = V0_TYPES.get(self.type, self.type)
        return wire.encode_bytes(1, inner)

    def _expect(self, field: Field, wire_type: int, meaning: str) -> None:
        wire.expect_wire(self.source, field, wire_type, self.inside, meaning)


def _values(view: memoryview, segments: Sequence[Segment]) -> np.ndarray:
    import numpy as np

    parts = [segment.values(view) for segment in segments]
    values = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, "<f4"), *parts])
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, as in Caffe's cast
        return values.astype("<f4", copy=False)
