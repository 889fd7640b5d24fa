"""Files that hold a dictionary of named tensors: safetensors and PyTorch checkpoints.

Files written by `rlossctl convert` name a blob `<layer>/<index>`. Other programs' files name tensors after
their modules (`backbone.conv1.weight`); `rlossctl.converters` knows how some of them become a net's blobs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights.blobs import MAX_COUNT, Blob, LayerBlobs

MAX_BLOBS = 1000  # no layer has more; keeps a hostile index from making a huge list
DIFF = ".diff"  # suffix of a blob's name for its gradient (snapshot_diff)
_BLOB_NAME = re.compile(r"(?P<layer>.+)/(?P<index>\d{1,4})", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor: its shape, its type's name as spelled in the file, and a function that reads its values."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class TensorFile:
    """A file of named tensors.

    Attributes:
        format: "safetensors" or "checkpoint".
        tensors: by name, in the order of the file.
        metadata: texts stored with the tensors (our own: `prototxt`, `shared`, `source`, `caffemodel`).
        inside: the entry of a checkpoint that holds its tensors ("state_dict"; "" for the top level).
        others: a description of a checkpoint's other entries, by name.
        extra: these entries themselves: numbers, texts, tensors and plain containers of them.
    """

    path: str
    format: str
    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]
    inside: str = ""
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Always empty: the net's name is only inside `metadata["prototxt"]`."""
        return ""

    @property
    def is_ours(self) -> bool:
        """Whether every tensor has a blob's name."""
        return bool(self.tensors) and all(_BLOB_NAME.fullmatch(_plain(name)) for name in self.tensors)

    @cached_property
    def layers(self) -> list[LayerBlobs]:
        """The blobs by layer. A blob that a layer shares with an earlier one is None or absent.

        Raises:
            WeightsError: the tensors are not named like blobs, or are not floats.
        """
        if not self.is_ours:
            names = [name for name in self.tensors if not _BLOB_NAME.fullmatch(_plain(name))]
            raise WeightsError(
                "the tensors are not named after a net's layers",
                where=self.path,
                found=", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")
                if self.tensors
                else "no tensors",
                expected="names such as conv1/0, as written by rlossctl convert",
                advice="convert the file first: rlossctl convert NET.prototxt FILE -o OUT.caffemodel "
                "(docs/import.md lists the supported checkpoints)",
            )
        found: dict[str, dict[int, Blob]] = {}
        for name, entry in self.tensors.items():
            match = _BLOB_NAME.fullmatch(name)
            if match is None:  # a diff
                continue
            index = int(match["index"])
            if index >= MAX_BLOBS:
                raise self.error("too many blobs", name, found=index, expected=f"indices below {MAX_BLOBS}")
            found.setdefault(match["layer"], {})[index] = self._blob(name, entry)
        return [
            LayerBlobs(layer, "", [blobs.get(index) for index in range(max(blobs) + 1)])
            for layer, blobs in found.items()
        ]

    def error(self, message: str, name: str, *, found: object, expected: object) -> WeightsError:
        """An error about one tensor."""
        return WeightsError(
            message,
            where=f"{self.path}, tensor {name!r}",
            found=found,
            expected=expected,
            advice="write the file again, or give a different file",
        )

    def _blob(self, name: str, entry: Entry) -> Blob:
        if entry.count > MAX_COUNT:
            raise self.error("is too large", name, found=entry.shape, expected=f"at most {MAX_COUNT} values")

        def read() -> np.ndarray:
            return as_float32(self, name)

        return Blob(entry.shape, False, read)


def as_float32(file: TensorFile, name: str) -> np.ndarray:
    """A tensor's values as float32.

    Raises:
        WeightsError: the tensor does not hold floats.
    """
    array = file.tensors[name].read()
    if array.dtype.kind != "f":
        raise file.error("does not hold floats", name, found=file.tensors[name].dtype, expected="float32")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, as in Caffe's cast
        return array.astype(np.float32, copy=False)


def _plain(name: str) -> str:
    return name.removesuffix(DIFF)
