"""Splitting a binary caffemodel into named tensors and a skeleton, and joining them again.

The skeleton is the file without the values of its blobs: names, types, layer parameters, shapes (new or
legacy), tags, unknown fields. Together with the tensors it gives back the file byte for byte.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights.blobs import Blob, Segment
from rlossctl.weights.caffemodel import CaffeModel
from rlossctl.weights.tensors import DIFF


@dataclasses.dataclass(frozen=True)
class Cut:
    """Values cut out of the file. `count` values of `size` bytes, starting with value `first` of `tensor`,
    belong at byte `at` of the skeleton; `tag` is the byte before each of them, or -1 if they are packed."""

    at: int
    tensor: str
    first: int
    count: int
    size: int
    tag: int


class Skeleton(NamedTuple):
    """A file without its values, and the places of the values."""

    data: bytes
    cuts: Sequence[Cut]

    def to_text(self) -> str:
        """JSON for the metadata of a file of tensors."""
        content = {
            "skeleton": base64.b64encode(self.data).decode(),
            "values": [dataclasses.astuple(cut) for cut in self.cuts],
        }
        return json.dumps(content, separators=(",", ":"))

    def pieces(self, tensors: Mapping[str, np.ndarray]) -> Iterator[bytes | memoryview]:
        """The file's bytes with the values of `tensors`."""
        at = 0
        for cut in self.cuts:
            yield self.data[at : cut.at]
            at = cut.at
            values = np.ascontiguousarray(tensors[cut.tensor], f"<f{cut.size}").reshape(-1)
            part = values[cut.first : cut.first + cut.count].view(np.uint8)
            if cut.tag >= 0:
                rows = np.full((cut.count, cut.size + 1), cut.tag, np.uint8)
                rows[:, 1:] = part.reshape(-1, cut.size)
                part = rows.reshape(-1)
            yield part.data
        yield self.data[at:]

    def counts(self) -> dict[str, int]:
        """The number of values of each tensor that the file holds."""
        counts: dict[str, int] = {}
        for cut in self.cuts:
            counts[cut.tensor] = counts.get(cut.tensor, 0) + cut.count
        return counts


def take_apart(model: CaffeModel) -> tuple[Skeleton, dict[str, np.ndarray]]:
    """The skeleton of a binary caffemodel, and its values as stored (float32 or float64).

    Tensors are named `<layer>/<index>`, gradients (snapshot_diff) `<layer>/<index>.diff`; a second layer of
    the same name gets the suffix `#2`. A tensor has its blob's shape; legacy shapes have four dimensions.
    """
    view = model.view
    taken: list[tuple[Segment, str, int]] = []
    tensors = {}
    for name, blob in _named_blobs(model):
        for suffix, segments in (("", blob.segments), (DIFF, blob.diffs)):
            if suffix and not segments:
                continue
            values = [np.empty(0, f"<f{segments[0].size if segments else 4}")]
            first = 0
            for segment in segments:
                taken.append((segment, name + suffix, first))
                values.append(segment.values(view))
                first += segment.count
            array = values[1] if len(values) == 2 else np.concatenate(values)
            tensors[name + suffix] = (
                array if suffix and array.size != blob.count else array.reshape(blob.shape)
            )
    data, cuts, at = bytearray(), [], 0
    for segment, name, first in sorted(taken, key=lambda entry: entry[0].start):
        data += view[at : segment.start]
        tag = view[segment.start] if segment.stride > segment.size else -1
        cuts.append(Cut(len(data), name, first, segment.count, segment.size, tag))
        at = segment.end
    data += view[at:]
    return Skeleton(bytes(data), cuts), tensors


def read_skeleton(text: str, where: str) -> Skeleton:
    """Reads a skeleton from a file's metadata.

    Raises:
        WeightsError: the text is damaged.
    """
    try:
        content = json.loads(text)
        data = base64.b64decode(content["skeleton"], validate=True)
        cuts = [_cut(entry, len(data)) for entry in content["values"]]
        if any(second.at < first.at for first, second in itertools.pairwise(cuts)):
            raise ValueError("values are not in order")
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            "the metadata of the caffemodel inside is damaged",
            where=where,
            found=str(error),
            expected="the text that rlossctl convert wrote there",
            advice="give the net too: rlossctl convert NET.prototxt WEIGHTS -o OUT",
        ) from error
    return Skeleton(data, cuts)


def _cut(entry: Any, end: int) -> Cut:
    cut = Cut(*entry)
    numbers = (cut.at, cut.first, cut.count, cut.size, cut.tag)
    if not isinstance(cut.tensor, str) or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{entry} is not a place for values")
    if not (
        0 <= cut.at <= end and cut.first >= 0 and cut.count >= 0 and cut.size in (4, 8) and cut.tag < 256
    ):
        raise ValueError(f"{entry} is not a place for values")
    return cut


def _named_blobs(model: CaffeModel) -> Iterator[tuple[str, Blob]]:
    seen: dict[str, int] = {}
    for layer in model.layers:
        if not layer.blobs:
            continue
        number = seen[layer.name] = seen.get(layer.name, 0) + 1
        name = layer.name if number == 1 else f"{layer.name}#{number}"
        for index, blob in enumerate(layer.blobs):
            if blob is not None:
                yield f"{name}/{index}", blob
