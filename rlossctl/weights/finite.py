"""NaN and infinity in weights: which blobs hold them, and how many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from rlossctl.errors import WeightsError
from rlossctl.words import counted

if TYPE_CHECKING:
    import numpy as np

    from rlossctl.weights.blobs import Segment
    from rlossctl.weights.caffemodel import CaffeModel

_SHOWN = 5
_EXPONENT = (b"\x7f", b"\xff")  # highest byte of a float32 that is NaN, infinite, or above 1.7e38
_BLOCK = 1 << 22  # values


class NotFinite(NamedTuple):
    """A blob with values that are not finite.

    Attributes:
        place: layer and blob, in words.
        wrong, of: how many such values of how many.
        first: the first of them and its index, in words.
    """

    place: str
    wrong: int
    of: int
    first: str

    def __str__(self) -> str:
        return f"{self.place}: {self.wrong:,} of {counted(self.of, 'value')} ({self.first})"


def not_finite(arrays: Iterable[tuple[str, np.ndarray]]) -> Iterator[NotFinite]:
    """Those of the named arrays that hold NaN or infinity; arrays of whole numbers hold none."""
    import numpy as np

    for place, array in arrays:
        if array.dtype.kind != "f":
            continue
        wrong = ~np.isfinite(array)
        count = int(np.count_nonzero(wrong))
        if count:
            index = np.unravel_index(int(wrong.argmax()), array.shape)
            value = "NaN" if np.isnan(array[index]) else f"{array[index]:+g}"
            at = ", ".join(str(int(place)) for place in index)
            yield NotFinite(place, count, array.size, f"{value} first, at [{at}]")


def not_finite_in(model: CaffeModel) -> list[NotFinite]:
    """The blobs of a binary caffemodel with such values; NumPy is loaded where one looks suspicious."""
    suspects = (
        (f"layer {layer.name!r} blob {index}", blob.array())
        for layer in model.layers
        for index, blob in enumerate(layer.blobs)
        if blob is not None and any(_is_suspicious(segment, model.view) for segment in blob.segments)
    )
    first = next(suspects, None)
    return [] if first is None else list(not_finite(chain([first], suspects)))


def _is_suspicious(segment: Segment, view: memoryview) -> bool:
    """Whether values may be not finite as float32: by the byte of sign and exponent, without NumPy."""
    if segment.size != 4:
        return True
    for first in range(0, segment.count, _BLOCK):
        count = min(_BLOCK, segment.count - first)
        start = segment.start + first * segment.stride
        block = bytes(view[start : start + count * segment.stride])
        highest = block[segment.stride - 1 :: segment.stride]
        if any(byte in highest for byte in _EXPONENT):
            return True
    return False


def require_finite(arrays: Iterable[tuple[str, np.ndarray]], where: object) -> None:
    """Raises WeightsError that names the arrays with values that are not finite, if there are any."""
    found = list(not_finite(arrays))
    if found:
        raise WeightsError(
            "holds weights that are not finite numbers",
            where=where,
            found=describe(found),
            expected="finite numbers",
            advice="take an earlier snapshot: the training diverged after it, or this file is damaged",
        )


def describe(found: list[NotFinite]) -> str:
    """The first blobs in words, and how many more there are."""
    more = [f"and {counted(len(found) - _SHOWN, 'more blob')}"] if len(found) > _SHOWN else []
    return "; ".join([*map(str, found[:_SHOWN]), *more])
