"""The format of a file: decided by its suffix or, if that does not tell, by its first bytes."""

from __future__ import annotations

import codecs
import os
import re
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
# A binary NetParameter with a layer has such a byte among its first (see `magic.refuse_foreign`).
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_FIRST_FIELD = re.compile(rb"(?:\s|#[^\n]*(?:\n|$))*(?:[A-Za-z_]\w*\s*(?::|\{|<|#|$)|$)")
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
    So does a text that is called like a checkpoint, as all prototxts of py-faster-rcnn are (.pt).
    """
    kind = by_suffix(path)
    if kind == CHECKPOINT and _holds_prototxt(path):
        return PROTOTXT
    return kind or (PROTOTXT if resources.similar_names(path) else None)


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
    if TEXT_BYTES.issuperset(head) or _begins_prototxt(head):
        return PROTOTXT
    return _protobuf(source)


def _holds_prototxt(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file begins as prototxt text does."""
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            return _begins_prototxt(file.read(TEXT_SAMPLE))
    except (OSError, ValueError):
        return False


def _begins_prototxt(head: bytes) -> bool:
    """Text without control bytes, in any encoding, whose first word is a field's name (or all comment)."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            head = head[2:].decode(encoding, "ignore").encode()
    if not head or _CONTROL.search(head):
        return False
    return bool(_FIRST_FIELD.match(head.removeprefix(codecs.BOM_UTF8)))


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
