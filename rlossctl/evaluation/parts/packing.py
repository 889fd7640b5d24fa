"""What is known of a part, as the bytes of a file: what it belongs to, facts, and arrays of whole numbers."""

from __future__ import annotations

import io
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LARGEST = 1 << 31  # bytes of a part's arrays, or of its facts
_LONGEST_KEY = 1 << 20  # bytes, with the headers of the arrays
_NOT_PACKED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    SyntaxError,
    RecursionError,
    NotImplementedError,  # a compression that Python does not have
    RuntimeError,  # an encrypted entry
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_TEXTS = ("key", "facts")


class NotPackedError(ValueError):
    """These bytes are not what `Packed.to_bytes` writes."""


@dataclass(frozen=True)
class Packed:
    """The content of a part's file, an npz archive.

    Attributes:
        key: identifies the part, and what it belongs to: the model's content, the list's content and every
            option that changes the result.
        facts: what else is known.
        arrays: by name.
    """

    key: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The archive."""
        file = io.BytesIO()
        content: dict[str, Any] = {"key": json.dumps(self.key), "facts": json.dumps(self.facts)}
        content |= self.arrays
        np.savez_compressed(file, **content)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, size: int = LARGEST) -> Packed:
        """Reads `to_bytes` back.

        Args:
            size: the most bytes that its arrays may take together.

        Raises:
            NotPackedError: it is something else, or larger.
        """
        try:
            arrays = _arrays(content, size)
            key, facts = (json.loads(str(arrays.pop(name))) for name in _TEXTS)
            if not (isinstance(key, dict) and isinstance(facts, dict)):
                raise ValueError("its key is not a JSON object")
        except _NOT_PACKED as error:
            raise NotPackedError(str(error)) from error
        return cls(key, facts, arrays)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they come back from a file: tuples become lists."""
    content: dict[str, Any] = json.loads(json.dumps(values))
    return content


def _arrays(content: bytes, size: int) -> dict[str, np.ndarray]:
    """The arrays of an npz archive by name."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with archive.open(entry) as file:
                values = file.read(LARGEST if name in _TEXTS else size + _LONGEST_KEY)
                if file.read(1):
                    raise ValueError(f"{entry.filename} is larger than the counts of this list")
            arrays[name] = _array(values)
    return arrays


def _array(content: bytes) -> np.ndarray:
    """The array in a file of numpy's format 1.0, whose header may state any size."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another format than 1.0")
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    values = content[file.tell() :]
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{len(values)} bytes for an array {shape} of {dtype}")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if columns_first else "C").copy()
