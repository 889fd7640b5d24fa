"""A file that lets an interrupted evaluation resume."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import time
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.data.lists import Sample
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.scoring.tally import Tally
from rlossctl.files import atomic_write

SECONDS_BETWEEN_SAVES = 30.0
_LONGEST_KEY = 1 << 20  # bytes, with the headers of the arrays
_NOT_A_STATE = (
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


@dataclass
class State:
    """The file of an evaluation's counts so far, and of what they belong to.

    It is an npz archive with the tally's arrays and `key`, a JSON text that identifies the model's content,
    the list's content and every option that changes the counts.

    Attributes:
        path: the file.
        model: a hash of the model's files and settings (`running.fingerprint.hash_files`).
    """

    path: Path
    model: str
    _saved: float = field(default_factory=time.monotonic, init=False)

    def key(self, samples: Sequence[Sample], options: Mapping[str, Any]) -> dict[str, Any]:
        """Identifies what the counts belong to."""
        lines = "\n".join(f"{sample.image} {sample.label}" for sample in samples)
        listed = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
        # Through JSON once, so that it equals the key that is read back.
        return json.loads(json.dumps({"model": self.model, "list": listed, **options}))

    def load(self, tally: Tally, key: Mapping[str, Any]) -> None:
        """Fills `tally` from the file, if it exists.

        Raises:
            UsageError: the file belongs to another model, list or options.
            DataError: it is not the state of an evaluation.
        """
        if not self.path.exists():
            return
        try:
            parts = _arrays(self.path, sum(part.nbytes for part in tally.arrays().values()))
            found = json.loads(str(parts.pop("key")))
            seconds = float(parts.pop("seconds"))
            if not isinstance(found, dict) or not 0 <= seconds < math.inf:
                raise ValueError("its key is not a JSON object, or its seconds are not a time")
        except _NOT_A_STATE as error:
            raise self._damaged(error) from error
        if found != key:
            names = sorted(name for name in {*found, *key} if found.get(name) != key.get(name))
            raise UsageError(
                "the state belongs to another evaluation",
                where=self.path,
                found=f"a different {', '.join(names)}",
                expected="the same model, list and options",
                advice="repeat the command that wrote it, or choose another file to start afresh",
            )
        shapes = {name: (part.shape, part.dtype) for name, part in tally.arrays().items()}
        if {name: (part.shape, part.dtype) for name, part in parts.items()} != shapes:
            raise self._damaged("arrays with other shapes")
        tally.update(parts)
        tally.seconds = seconds

    def save(self, tally: Tally, key: Mapping[str, Any]) -> None:
        """Writes the file."""
        parts: dict[str, Any] = {"key": json.dumps(key), "seconds": np.float64(tally.seconds)}
        parts |= tally.arrays()
        with atomic_write(self.path) as file:
            np.savez_compressed(file, **parts)
        self._saved = time.monotonic()

    def _damaged(self, reason: object) -> DataError:
        return DataError(
            "this is not the state of an evaluation",
            where=self.path,
            found=reason,
            expected="a file written by `rlossctl eval --state`",
            advice="choose another file, or remove this one",
        )

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES


def _arrays(path: Path, size: int) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name; `size` is what they should take together, in bytes."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                content = file.read(size + _LONGEST_KEY)
                if file.read(1):
                    raise ValueError(f"{entry.filename} is larger than the counts of this list")
            arrays[entry.filename.removesuffix(".npy")] = _array(content)
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
