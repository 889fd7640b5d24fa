"""Compares two files: layers and their parameters, the shapes and values of blobs, a solver's fields.

Files of different formats are compared in the parts that both have: a prototxt has layers, a safetensors file
has blobs, a binary caffemodel has both.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from rlossctl.errors import UsageError
from rlossctl.inspection.contents import Blob, Content, read
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds
from rlossctl.words import counted

Thing = TypeVar("Thing")


class Change(NamedTuple):
    """One difference.

    Attributes:
        sign: `-` only in the first file, `+` only in the second, `~` in both.
        kind: layers, blobs or fields.
        name: of the layer, `<layer>/<index>` of the blob, or the field.
        text: the thing after - and +, what differs after ~.
    """

    sign: str
    kind: str
    name: str
    text: str

    @property
    def line(self) -> str:
        """The change on one line."""
        return f"~ {self.name}: {self.text}" if self.sign == "~" else f"{self.sign} {self.text}"


@dataclasses.dataclass(frozen=True)
class Difference:
    """The result of a comparison.

    Attributes:
        found: what differs.
        compared: how many parts of each kind were compared, in words.
    """

    found: tuple[Change, ...]
    compared: str

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs, one line each."""
        return tuple(change.line for change in self.found)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.found

    def lines(self) -> list[str]:
        """The result as text, line by line."""
        found = counted(len(self.found), "difference") if self.found else "no differences"
        return [*self.changes, f"{found} in {self.compared}"]

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return {"equal": self.equal, "changes": self.changes, "compared": self.compared}


def difference(first: NetOrigin, second: NetOrigin, tolerance: float = 0.0) -> Difference:
    """Compares two files.

    Args:
        first, second: files of any format in the prototxt's place, and how to read a prototxt. Placeholders
            in strings may stay unset.
        tolerance: values count as equal up to this share of the blob's largest magnitude; 0 compares bits.

    Raises:
        UsageError: the formats have nothing in common.
        RlossError: a file cannot be read.
    """
    old, new = map(read, (first, second))
    return compare(old, new, (first, second), tolerance)


def compare(
    old: Content, new: Content, origins: tuple[NetOrigin, NetOrigin], tolerance: float = 0.0
) -> Difference:
    """Compares what was read of two files; see `difference`."""
    blob_changes = functools.partial(_blob_changes, tolerance=tolerance)
    parts = (
        _compare("layers", old.layers, new.layers, _layer_title, _layer_changes),
        _compare("blobs", *_with_shared(old, new), _blob_title, blob_changes),
        _compare("fields", old.fields, new.fields, _field_title, _field_changes),
    )
    found = [part for part in parts if part is not None]
    if not found:
        first, second = (origin.prototxt for origin in origins)
        raise UsageError(
            "the two files have nothing in common",
            where=f"{first} and {second}",
            found=f"{kinds.kind_of(first)} and {kinds.kind_of(second)}",
            expected="two nets, two solvers, two files with blobs, or a net and a binary caffemodel",
        )
    changes = tuple(change for part in found for change in part.found)
    return Difference(changes, " and ".join(part.compared for part in found))


def _with_shared(old: Content, new: Content) -> tuple[Mapping[str, Blob] | None, Mapping[str, Blob] | None]:
    """The blobs of both; a format that stores shared blobs once gets them under every name."""
    if old.blobs is None or new.blobs is None:
        return old.blobs, new.blobs
    return _shared(old, new.blobs), _shared(new, old.blobs)


def _shared(once: Content, repeated: Mapping[str, Blob]) -> Mapping[str, Blob]:
    """The blobs of a file that stores shared blobs once, plus those that the other file shows to be shared.

    A blob that is missing from a layer is shared if, in the other file, it has the same bits as a blob that
    this file has.
    """
    blobs = dict(once.blobs or {})
    for name, blob in repeated.items():
        if name in blobs or once.owners is None or name.rpartition("/")[0] not in once.owners:
            continue
        twins = (each for each in repeated if each in blobs and _same_bits(repeated[each], blob))
        owner = next(twins, None)
        if owner is not None:
            blobs[name] = blobs[owner]
    return blobs


def _same_bits(first: Blob, second: Blob) -> bool:
    return first.shape == second.shape and first.read().tobytes() == second.read().tobytes()


def _compare(
    kind: str,
    before: Mapping[str, Thing] | None,
    after: Mapping[str, Thing] | None,
    title: Callable[[str, Thing], str],
    changes: Callable[[Thing, Thing], Iterator[str]],
) -> Difference | None:
    """The differences in one kind of part; None if one of the files does not have it."""
    if before is None or after is None:
        return None
    found: list[Change] = []
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            found.append(Change("-", kind, name, title(name, before[name])))
        elif name not in before:
            found.append(Change("+", kind, name, title(name, after[name])))
        else:
            found += [Change("~", kind, name, text) for text in changes(before[name], after[name])]
    return Difference(tuple(found), f"{len({*before, *after})} {kind}")


def _layer_title(name: str, fields: Mapping[str, str]) -> str:
    return f"layer {name} ({fields.get('type', '?')})"


def _blob_title(name: str, blob: Blob) -> str:
    return f"blob {name} {_size(blob.shape)}"


def _field_title(name: str, value: str) -> str:
    return f"{name}: {value}"


def _field_changes(before: str, after: str) -> Iterator[str]:
    if before != after:
        yield f"{before} -> {after}"


def _layer_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name, "(not set)"), after.get(name, "(not set)")
        if old != new:
            yield f"{name} {old} -> {new}"


def _blob_changes(before: Blob, after: Blob, tolerance: float) -> Iterator[str]:
    """The shape, then the values, which can be compared even if a legacy shape has extra 1s in front."""
    if not before.fits(after):
        yield f"{_size(before.shape)} -> {_size(after.shape)}"
        if math.prod(before.shape) != math.prod(after.shape):
            return
    old, new = (np.asarray(blob.read()).reshape(-1) for blob in (before, after))
    if old.dtype == new.dtype and old.tobytes() == new.tobytes():
        return
    if old.dtype.kind != "f" or new.dtype.kind != "f":
        yield (
            f"values differ ({old.dtype} and {new.dtype})" if not np.array_equal(old, new) else "types differ"
        )
        return
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(old.astype(np.float64) - new)
    gap[(old == new) | (np.isnan(old) & np.isnan(new))] = 0
    largest = float(gap.max()) if np.isfinite(gap).all() else math.inf
    magnitude = float(np.abs(old[np.isfinite(old)]).max(initial=0))
    if tolerance and largest <= tolerance * magnitude:
        return
    norms = [float(np.linalg.norm(values.astype(np.float64))) for values in (old, new)]
    share = f" ({largest / magnitude:.2g} of its magnitude)" if magnitude else ""
    yield (
        f"{_size(after.shape)}: {np.count_nonzero(gap)} of {gap.size} values differ, "
        f"by at most {largest:.3g}{share}; norm {norms[0]:.6g} -> {norms[1]:.6g}"
    )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
