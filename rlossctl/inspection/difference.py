"""Compares two files: layers and their parameters, the shapes and values of blobs, a solver's fields.

Files of different formats are compared in the parts that both have: a prototxt has layers, a safetensors file
has blobs, a binary caffemodel has both.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rlossctl.errors import UsageError
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds
from rlossctl.weights.blobs import squeezed
from rlossctl.words import counted

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    from rlossctl.prototxt.messages import NetParameter

Thing = TypeVar("Thing")


@dataclasses.dataclass(frozen=True)
class Blob:
    """A blob's shape, and a function that reads its values as float32.

    Attributes:
        legacy: whether the file gives four dimensions for every blob, as old files do.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    legacy: bool = False

    def fits(self, other: Blob) -> bool:
        """Whether the shapes are equal, or may be equal if one is a legacy shape: (1, 1, 1, 4) is (4)."""
        if self.legacy or other.legacy:
            return squeezed(self.shape) == squeezed(other.shape)
        return self.shape == other.shape


@dataclasses.dataclass(frozen=True)
class Content:
    """The parts of a file that can be compared; None for a part that its format does not have.

    Attributes:
        layers: name -> type and parameters as `field: value`.
        blobs: `<layer>/<index>` -> blob.
        owners: layers whose shared blobs are stored under another layer's name, which HDF5 does not record;
            None for formats that repeat shared blobs.
        fields: a solver's fields.
    """

    layers: Mapping[str, Mapping[str, str]] | None = None
    blobs: Mapping[str, Blob] | None = None
    fields: Mapping[str, str] | None = None
    owners: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class Difference:
    """The result of a comparison.

    Attributes:
        changes: one line each: `-` only in the first file, `+` only in the second, `~` in both.
        compared: how many parts of each kind were compared, in words.
    """

    changes: tuple[str, ...]
    compared: str

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.changes

    def lines(self) -> list[str]:
        """The result as text, line by line."""
        found = counted(len(self.changes), "difference") if self.changes else "no differences"
        return [*self.changes, f"{found} in {self.compared}"]

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return {"equal": self.equal, **dataclasses.asdict(self)}


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
    blob_changes = functools.partial(_blob_changes, tolerance=tolerance)
    parts = (
        _compare("layers", old.layers, new.layers, _layer_title, _layer_changes),
        _compare("blobs", *_with_shared(old, new), _blob_title, blob_changes),
        _compare("fields", old.fields, new.fields, _field_title, _field_changes),
    )
    found = [part for part in parts if part is not None]
    if not found:
        raise UsageError(
            "the two files have nothing in common",
            where=f"{first.prototxt} and {second.prototxt}",
            found=f"{kinds.kind_of(first.prototxt)} and {kinds.kind_of(second.prototxt)}",
            expected="two nets, two solvers, two files with blobs, or a net and a binary caffemodel",
        )
    changes = tuple(line for part in found for line in part.changes)
    return Difference(changes, " and ".join(part.compared for part in found))


def read(origin: NetOrigin) -> Content:
    """Reads the comparable parts of a file of any format."""
    path = Path(origin.prototxt)
    kind = kinds.kind_of(path)
    if kind == kinds.PROTOTXT:
        return _prototxt(origin)
    if kind == kinds.ONNX:
        return _onnx(path)
    if kind == kinds.SOLVERSTATE:
        from rlossctl.weights import load_solverstate

        state = load_solverstate(path)
        arrays = {f"history/{index}": _array(array) for index, array in enumerate(state.history)}
        fields = {name: str(getattr(state, name)) for name in ("iter", "learned_net", "current_step")}
        return Content(blobs=arrays, fields=fields)
    if kind == kinds.MEAN:
        from rlossctl.weights import load_blob

        return Content(blobs={"mean": _array(load_blob(path).array())})
    return _weights(path, kind, origin.dialect)


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


def _prototxt(origin: NetOrigin) -> Content:
    from rlossctl.prototxt.text import NetFile, load_prototxt
    from rlossctl.prototxt.unset import Placeholders

    found = load_prototxt(origin.prototxt, Placeholders(origin.placeholders), origin.dialect)
    if isinstance(found, NetFile):
        return Content(layers=_layers(found.param))
    return Content(fields=_fields(found))


def _weights(path: Path, kind: str, dialect: str) -> Content:
    from rlossctl.prototxt import wire
    from rlossctl.prototxt.text import net_file
    from rlossctl.weights import CaffeModel, TensorFile, load_weights

    model = load_weights(path, kind)
    if isinstance(model, TensorFile):
        return Content(blobs={name: Blob(each.shape, each.read) for name, each in model.tensors.items()})
    blobs = {
        f"{layer.name}/{index}": Blob(blob.shape, blob.array, blob.legacy)
        for layer in model.layers
        for index, blob in enumerate(layer.blobs)
        if blob is not None
    }
    if not isinstance(model, CaffeModel):
        return Content(blobs=blobs, owners=frozenset(layer.name for layer in model.layers))
    param, name, _ = wire.decode_net(model.message_bytes(), model.path, dialect)
    layers = _layers(net_file(param, str(path), dialect=name).param)
    # A caffemodel made from HDF5 has only names and blobs, like HDF5, so its layers cannot be compared.
    return Content(layers=layers if any(layers.values()) else None, blobs=blobs)


def _onnx(path: Path) -> Content:
    from rlossctl.weights.onnxfile import load_onnx, tensor_values

    model = load_onnx(path)
    nodes = {
        node.name or f"{node.op_type} to {', '.join(node.output)}": {
            "type": node.op_type,
            **{attribute.name: str(attribute).partition("\n")[2].strip() for attribute in node.attribute},
        }
        for node in model.graph.node
    }
    tensors = {
        tensor.name: Blob(tuple(tensor.dims), functools.partial(tensor_values, path, tensor))
        for tensor in model.graph.initializer
    }
    return Content(layers=nodes, blobs=tensors)


def _layers(net: NetParameter) -> dict[str, dict[str, str]]:
    """Layers by name; if a name repeats (one layer for each phase), later ones get a number after it."""
    layers: dict[str, dict[str, str]] = {}
    for layer in net.layer:
        name, number = layer.name, 2
        while name in layers:
            name, number = f"{layer.name}#{number}", number + 1
        layers[name] = _fields(layer)
    return layers


def _fields(message: Message, prefix: str = "") -> dict[str, str]:
    """The fields that are set in a message; nested ones have dotted names."""
    out: dict[str, str] = {}
    for field, value in message.ListFields():
        if prefix + field.name in ("name", "blobs"):
            continue
        if hasattr(value, "ListFields"):
            out |= _fields(value, f"{prefix}{field.name}.")
        elif hasattr(value, "__len__") and not isinstance(value, str | bytes):
            out[prefix + field.name] = ", ".join(str(item).strip().replace("\n", " ") for item in value)
        else:
            out[prefix + field.name] = _spelled(field, value)
    return out


def _spelled(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    lines: list[str] = []
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            lines.append(f"- {title(name, before[name])}")
        elif name not in before:
            lines.append(f"+ {title(name, after[name])}")
        else:
            lines += [f"~ {name}: {line}" for line in changes(before[name], after[name])]
    return Difference(tuple(lines), f"{len({*before, *after})} {kind}")


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


def _array(array: np.ndarray) -> Blob:
    return Blob(array.shape, lambda: array)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
