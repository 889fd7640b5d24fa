"""Reads the comparable parts of a file of any format: layers, blobs, a solver's fields."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds
from rlossctl.weights.blobs import squeezed

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    from rlossctl.prototxt.messages import NetParameter


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Content:
    """The parts of a file that can be compared; None for a part that its format does not have.

    Attributes:
        layers: name -> type and parameters as `field: value`.
        blobs: `<layer>/<index>` -> blob.
        owners: layers whose shared blobs are stored under another layer's name, which HDF5 does not record;
            None for formats that repeat shared blobs.
        fields: a solver's fields.
        net: the message whose layers these are, in the same order.
    """

    layers: Mapping[str, Mapping[str, str]] | None = None
    blobs: Mapping[str, Blob] | None = None
    fields: Mapping[str, str] | None = None
    owners: frozenset[str] | None = None
    net: NetParameter | None = None


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


def _prototxt(origin: NetOrigin) -> Content:
    from rlossctl.prototxt.text import NetFile, load_prototxt
    from rlossctl.prototxt.unset import Placeholders

    found = load_prototxt(origin.prototxt, Placeholders(origin.placeholders), origin.dialect)
    if isinstance(found, NetFile):
        return Content(layers=_layers(found.param), net=found.param)
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
    net = net_file(param, str(path), dialect=name).param
    layers = _layers(net)
    # A caffemodel made from HDF5 has only names and blobs, like HDF5, so its layers cannot be compared.
    if not any(layers.values()):
        return Content(blobs=blobs)
    return Content(layers=layers, blobs=blobs, net=net)


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


def _array(array: np.ndarray) -> Blob:
    return Blob(array.shape, lambda: array)
