"""The protobuf wire format, parsed by hand over a memory map.

Reading weights through a protobuf runtime copies every value at least twice and needs the whole file
at once. This module reads only tags and lengths; the values stay in the file. Every length is checked
against the enclosing message before it is used, so a damaged or hostile file leads to a `WeightsError`
that names the byte, never to a crash or a huge allocation.

Format: https://protobuf.dev/programming-guides/encoding/ (proto2, without groups, which Caffe's
schema does not use).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rlossctl.errors import WeightsError
from rlossctl.files import require_regular

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
WIRE_NAMES = {
    VARINT: "number",
    FIXED64: "64-bit value",
    LENGTH: "bytes",
    3: "group start",
    4: "group end",
    FIXED32: "32-bit value",
}
VARINT_BYTES = 10  # a 64-bit value in groups of seven bits
MAX_FIELD = (1 << 29) - 1
DAMAGED = "the file is damaged or is not a Caffe file: fetch or write it again and compare sizes"
INCOMPLETE = "the download or copy is incomplete: fetch the file again and compare its size"


class Source(NamedTuple):
    """The bytes of one file, and its name in error messages."""

    name: str
    view: memoryview

    def error(
        self, at: int, inside: str, message: str, *, found: object, expected: object, advice: str = DAMAGED
    ) -> WeightsError:
        """An error about byte `at`, in the part of the file called `inside`."""
        where = f"{self.name}, byte {at}" + (f" ({inside})" if inside else "")
        return WeightsError(message, where=where, found=found, expected=expected, advice=advice)


class Field(NamedTuple):
    """One field: `at` is the offset of its tag, `start:end` its payload, `value` a varint's value."""

    number: int
    wire: int
    at: int
    start: int
    end: int
    value: int


def open_source(path: str | os.PathLike[str]) -> Source:
    """Maps a file into memory, read-only. The map lives as long as anything that was read from it.

    Raises:
        WeightsError: the file is missing, is a folder, cannot be read or is empty.
    """
    name = str(Path(path))
    try:
        require_regular(path)
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise WeightsError(
                    "the file is empty",
                    where=name,
                    found="0 bytes",
                    expected="a Caffe weights or state file",
                    advice=INCOMPLETE,
                )
            return Source(name, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except OSError as error:
        raise WeightsError(
            "cannot be read",
            where=name,
            found=error.strerror or str(error),
            expected="a readable Caffe weights or state file",
            advice="check the path and its permissions",
        ) from error


def read_varint(source: Source, at: int, end: int, inside: str) -> tuple[int, int]:
    """The unsigned 64-bit value at byte `at`, and the offset after it."""
    view = source.view
    if at < end and view[at] < 0x80:  # nearly all tags and lengths of headers
        return view[at], at + 1
    value = 0
    for position in range(at, min(end, at + VARINT_BYTES)):
        byte = view[position]
        value |= (byte & 0x7F) << (7 * (position - at))
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
    if end - at < VARINT_BYTES:
        raise source.error(
            at,
            inside,
            "a number is cut off",
            found=f"{end - at} bytes without an end",
            expected="a complete varint inside its message",
            advice=DAMAGED if inside else INCOMPLETE,
        )
    raise source.error(
        at,
        inside,
        "a number is too long",
        found=f"more than {VARINT_BYTES} bytes",
        expected=f"a varint of at most {VARINT_BYTES} bytes",
    )


def read_field(source: Source, at: int, end: int, inside: str) -> Field:
    """The field whose tag is at byte `at` of a message that ends at `end`."""
    tag, start = read_varint(source, at, end, inside)
    number, wire = tag >> 3, tag & 7
    if not 0 < number <= MAX_FIELD:
        raise source.error(
            at, inside, "illegal field number", found=number, expected=f"a number from 1 to {MAX_FIELD}"
        )
    if wire == LENGTH:
        length, start = read_varint(source, start, end, inside)
        return _checked(source, Field(number, wire, at, start, start + length, length), end, inside)
    if wire == VARINT:
        value, stop = read_varint(source, start, end, inside)
        return Field(number, wire, at, start, stop, value)
    if wire in (FIXED32, FIXED64):
        size = 4 if wire == FIXED32 else 8
        return _checked(source, Field(number, wire, at, start, start + size, 0), end, inside)
    raise source.error(
        at,
        inside,
        f"field {number} has wire type {wire}, which Caffe never writes",
        found=WIRE_NAMES.get(wire, "an undefined wire type"),
        expected="wire type 0, 1, 2 or 5",
    )


def walk(source: Source, start: int, end: int, inside: str = "") -> Iterator[Field]:
    """The fields of the message in bytes `start:end`, in the order of the file."""
    at = start
    while at < end:
        field = read_field(source, at, end, inside)
        yield field
        at = field.end


def expect_wire(source: Source, field: Field, wire: int, inside: str, meaning: str) -> None:
    """Refuses a known field whose encoding does not match its type."""
    if field.wire != wire:
        raise source.error(
            field.at,
            inside,
            f"field {field.number} is not {meaning}",
            found=WIRE_NAMES[field.wire],
            expected=WIRE_NAMES[wire],
            advice="the file is damaged or another kind of protobuf file: give the file that Caffe wrote",
        )


def text(source: Source, field: Field) -> str:
    """A string field. Bytes that are not UTF-8 (proto2 allows them) appear as backslash escapes."""
    return bytes(source.view[field.start : field.end]).decode("utf-8", "backslashreplace")


def int32(value: int) -> int:
    """A varint read as protobuf's int32: the low 32 bits, signed."""
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def int64(value: int) -> int:
    """A varint read as protobuf's int64."""
    return value - (1 << 64) if value >> 63 else value


def encode_varint(value: int) -> bytes:
    """Shortest encoding; negative values take ten bytes, as protobuf's int32 and int64 do."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_head(number: int, length: int) -> bytes:
    """The tag and length that precede `length` bytes of payload."""
    return encode_varint(number << 3 | LENGTH) + encode_varint(length)


def encode_int(number: int, value: int) -> bytes:
    """A whole varint field."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def encode_bytes(number: int, payload: bytes) -> bytes:
    """A whole length-delimited field."""
    return encode_head(number, len(payload)) + payload


def _checked(source: Source, field: Field, end: int, inside: str) -> Field:
    if field.end <= end:
        return field
    left = end - field.start
    found = f"field {field.number} of {field.end - field.start} bytes, {left} bytes left"
    if not inside:  # the outermost message is the whole file
        raise source.error(
            field.at,
            inside,
            "the file is truncated",
            found=f"{found} in a file of {end} bytes",
            expected=f"at least {field.end} bytes",
            advice=INCOMPLETE,
        )
    raise source.error(
        field.at,
        inside,
        "a field runs past the end of its message",
        found=found,
        expected=f"at most {left} bytes",
    )
