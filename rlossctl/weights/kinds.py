"""The format of a file: decided by its suffix or, if the suffix is unknown, by its first bytes."""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl import resources
from rlossctl.errors import UsageError, WeightsError
from rlossctl.weights import wire
from rlossctl.weights.magic import HDF5, TEXT_BYTES, TEXT_SAMPLE, is_safetensors
from rlossctl.weights.wire import LENGTH, VARINT, Source

PROTOTXT = "prototxt"
CAFFEMODEL = "caffemodel"
CAFFEMODEL_H5 = "caffemodel-h5"
SOLVERSTATE = "solverstate"
MEAN = "mean"
SAFETENSORS = "safetensors"
CHECKPOINT = "checkpoint"
ONNX = "onnx"

# The longest matching suffix decides; the first of each kind is the one used for writing.
SUFFIXES = {
    PROTOTXT: (".prototxt", ".pbtxt", ".txt"),
    CAFFEMODEL: (".caffemodel",),
    CAFFEMODEL_H5: (".caffemodel.h5", ".h5", ".hdf5"),
    SOLVERSTATE: (".solverstate", ".solverstate.h5"),
    MEAN: (".binaryproto",),
    SAFETENSORS: (".safetensors",),
    CHECKPOINT: (".pt", ".pth", ".pth.tar", ".ckpt"),
    ONNX: (".onnx",),
}
WEIGHTS = (CAFFEMODEL, CAFFEMODEL_H5, SAFETENSORS, CHECKPOINT)  # formats from which a net's blobs are copied
WRITTEN = (PROTOTXT, *WEIGHTS, ONNX)  # formats that `convert` writes
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80\x02"
_ONNX_GRAPH = 7  # in ModelProto; a SolverState has no field beyond 4


def by_suffix(path: str | os.PathLike[str]) -> str | None:
    """The format of a file by its suffix; None for an unknown suffix."""
    name = Path(path).name.lower()
    found = [(len(end), kind) for kind, ends in SUFFIXES.items() for end in ends if name.endswith(end)]
    return max(found)[1] if found else None


def by_name(path: str | os.PathLike[str]) -> str | None:
    """The format of an input by its name: its suffix, or a prototxt for a net that comes with rlossctl.

    A name much like that of such a net also counts as a prototxt: its reader then suggests the right name.
    """
    return by_suffix(path) or (PROTOTXT if resources.similar_names(path) else None)


def kind_of(path: str | os.PathLike[str]) -> str:
    """The format of an input, by its name or else by its content.

    Raises:
        WeightsError: the file cannot be read or is empty (it is opened only if the name does not tell).
    """
    return by_name(path) or by_content(wire.open_source(path))


def by_content(source: Source) -> str:
    """The format of a file by its bytes; by default a caffemodel, whose reader then says what is wrong."""
    head = bytes(source.view[:TEXT_SAMPLE])
    if head.startswith(HDF5):
        return CAFFEMODEL_H5
    if head.startswith((_ZIP, _PICKLE)):
        return CHECKPOINT
    if is_safetensors(head):
        return SAFETENSORS
    if TEXT_BYTES.issuperset(head):
        return PROTOTXT
    return _protobuf(source)


def written_kind(path: str | os.PathLike[str], named: str | None = None) -> str:
    """The format to write, by `named` or the suffix of `path`.

    Raises:
        UsageError: neither gives a format.
    """
    kind = named or by_suffix(path)
    if kind not in WRITTEN:
        raise UsageError(
            "unknown format",
            where=path,
            found=f"suffix {Path(path).suffix or '(none)'}",
            expected=", ".join(SUFFIXES[kind][0] for kind in WRITTEN),
            advice="name the output with one of these suffixes, or the format with --to",
        )
    return kind


def _protobuf(source: Source) -> str:
    """A message whose first field is a number is not a NetParameter but a SolverState or an ONNX model."""
    try:
        first = wire.read_field(source, 0, len(source.view), "")
        if (first.number, first.wire) != (1, VARINT):
            return CAFFEMODEL
        fields = wire.walk(source, 0, len(source.view))
        graph = any(field.number == _ONNX_GRAPH and field.wire == LENGTH for field in fields)
    except WeightsError:
        return CAFFEMODEL
    return ONNX if graph else SOLVERSTATE
