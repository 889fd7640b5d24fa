"""One BlobProto: its shape, and its values, which stay in the file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rlossctl.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

MAX_COUNT = 2**31 - 1  # Caffe counts elements in an int


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """`count` values of `size` bytes; value i ends at `start + (i + 1) * stride`.

    Packed values have stride == size. Each unpacked value has a one-byte tag, so stride == size + 1.
    """

    start: int
    count: int
    size: int
    stride: int

    @property
    def end(self) -> int:
        return self.start + self.count * self.stride

    def rows(self, view: memoryview) -> np.ndarray:
        """The bytes as (count, stride), without a copy."""
        import numpy as np

        raw = np.frombuffer(view, np.uint8, self.count * self.stride, self.start)
        return raw.reshape(self.count, self.stride)

    def values(self, view: memoryview) -> np.ndarray:
        """The values: a view of the file if they are packed, otherwise a copy."""
        import numpy as np

        if self.stride == self.size:
            return np.frombuffer(view, f"<f{self.size}", self.count, self.start)
        return np.ascontiguousarray(self.rows(view)[:, 1:]).view(f"<f{self.size}").reshape(self.count)

    def encode(self, view: memoryview, values: np.ndarray) -> np.ndarray:
        """`values` as the bytes that replace this segment."""
        import numpy as np

        data = np.ascontiguousarray(values, f"<f{self.size}").view(np.uint8).reshape(-1, self.size)
        if self.stride == self.size:
            return data.reshape(-1)
        rows = self.rows(view).copy()
        rows[:, 1:] = data
        return rows.reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Blob:
    """A blob of a weights file.

    Attributes:
        shape: the dimensions as written; if `legacy`, four of them, right-aligned.
        legacy: whether the file has the four old integers num, channels, height, width. As in Caffe, they
            take precedence as soon as one of them is present, even beside a `shape`.
    """

    shape: tuple[int, ...]
    legacy: bool
    read: Callable[[], np.ndarray] = dataclasses.field(repr=False)
    segments: tuple[Segment, ...] = dataclasses.field(default=(), repr=False)
    diffs: tuple[Segment, ...] = dataclasses.field(default=(), repr=False)
    replaced: bool = dataclasses.field(default=False, repr=False)

    @property
    def count(self) -> int:
        """Number of values; 1 for a blob without axes, such as that of a channel-shared PReLU."""
        return math.prod(self.shape)

    @property
    def squeezed_shape(self) -> tuple[int, ...]:
        """The shape without a legacy file's padding of 1s on the left: (1,1,1,N) becomes (N,)."""
        return squeezed(self.shape) if self.legacy else self.shape

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether Caffe would copy this blob into one of `shape` (Blob::ShapeEquals).

        A legacy shape is compared from the right, missing axes of the target count as 1, and the
        target has at most four axes; otherwise the shapes must be equal.
        """
        target = tuple(shape)
        if self.legacy:
            return len(target) <= 4 and squeezed(target) == self.squeezed_shape
        return target == self.shape

    def array(self) -> np.ndarray:
        """The values as a read-only float32 array of `shape`.

        If the file holds packed floats (as Caffe writes them), the array is a view of the mapped file, so
        nothing is read from disk before it is used; it may be unaligned. Unpacked data, split data and
        doubles (which take precedence over floats) are copied. Copy into a tensor with
        `numpy.copyto(tensor.numpy(), blob.array())`.
        """
        array = self.read().reshape(self.shape)
        array.flags.writeable = False
        return array

    def with_values(self, values: np.ndarray, where: str) -> Blob:
        """This blob with new values of the same shape (or, for a legacy blob, of a shape that it fits)."""
        import numpy as np

        array = np.array(values, np.float32, order="C")
        if array.shape != self.shape and not self.fits(array.shape):
            raise WeightsError(
                "the new values do not fit the blob",
                where=where,
                found=f"shape {array.shape}",
                expected=f"shape {self.shape}",
                advice="give an array of the blob's shape; to change shapes write a new caffemodel",
            )
        return dataclasses.replace(self, read=lambda: array.view(), replaced=True)

    def patches(self, view: memoryview) -> Iterator[tuple[int, int, np.ndarray]]:
        """(start, end, bytes of the same length) for a blob whose values were replaced."""
        values = self.read().reshape(-1)
        first = 0
        for segment in self.segments:
            yield segment.start, segment.end, segment.encode(view, values[first : first + segment.count])
            first += segment.count


@dataclasses.dataclass(frozen=True, eq=False)
class LayerBlobs:
    """One layer of a weights file.

    Attributes:
        name: layer name.
        type: type as LayerParameter spells it ("Convolution"). Older spellings are translated; an
            unknown number reads as "", and so does the type in HDF5 files, which do not store it.
        blobs: in Caffe's order. None stands for a blob that an HDF5 file stores with the layer that
            owns the shared parameter.
        message_type: "LayerParameter" or "V1LayerParameter" (whose field 1 may hold a
            V0LayerParameter); "" for HDF5.
    """

    name: str
    type: str
    blobs: Sequence[Blob | None]
    message_type: str = ""
    parts: tuple[bytes | memoryview, ...] = dataclasses.field(default=(), repr=False)

    def message_bytes(self) -> bytes:
        """The file's message for the layer without its blobs: small, ready for a protobuf parser."""
        return b"".join(self.parts)


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the 1s on its left."""
    first = next((axis for axis, dim in enumerate(shape) if dim != 1), len(shape))
    return shape[first:]
