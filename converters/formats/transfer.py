"""Converts one weights file to another, without a net: blobs bit for bit, and the rest if the format allows.

`TRANSFERS` lists every conversion: from which format to which, the function, and what is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlossctl.converters.formats import checkpoint, safetensors
from rlossctl.errors import PrototxtError, UsageError, VerificationError
from rlossctl.files import atomic_path
from rlossctl.prototxt import to_text, wire
from rlossctl.prototxt.upgrade import upgrade
from rlossctl.weights import (
    CaffeModel,
    Hdf5Model,
    TensorFile,
    Weights,
    caffemodel_frame,
    kinds,
    load_caffemodel,
    load_weights,
    provenance,
    write_caffemodel,
    write_caffemodel_h5,
)
from rlossctl.weights.blobs import LayerBlobs
from rlossctl.weights.finite import describe, not_finite
from rlossctl.weights.kinds import CAFFEMODEL, CAFFEMODEL_H5, CHECKPOINT, SAFETENSORS
from rlossctl.weights.wire import encode_bytes
from rlossctl.words import counted

# Axes of a layer's blobs by type, for legacy files that give four for each; other blobs lose leading 1s.
RANKS = {"Convolution": (4, 1), "Deconvolution": (4, 1), "InnerProduct": (2, 1)}
IMAGE, NET = "caffemodel", "prototxt"  # keys of the metadata


@dataclass(frozen=True)
class Transferred:
    """The result of a conversion.

    Attributes:
        method: how it was checked, in words.
        notes: what the new file lacks.
    """

    out: str
    method: str
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The result as text, line by line."""
        return [f"wrote {self.out}", f"verified: {self.method}", *self.notes]

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return asdict(self)


class Transfer(NamedTuple):
    """One conversion: `write(weights, file)` returns how it was checked; `lost` says what the new file lacks.

    `load_weights` gives the weights, for the format that the conversion starts from.
    """

    write: Callable[[Any, Path], str]
    lost: str = ""


def transfer(file: Path, out: Path, kind: str | None, target: str) -> Transferred:
    """Writes the blobs of `file` to `out`, in format `target`.

    Args:
        kind: the format of `file`; replaces the format found from suffix and content.

    Raises:
        UsageError: the one format cannot become the other without a net.
        WeightsError: the file is damaged, or its tensors are not a net's blobs.
        VerificationError: the written file reads back differently.
    """
    kind = kind or kinds.kind_of(file)
    way = TRANSFERS.get((kind, target))
    if way is None:
        raise UsageError(
            "a net is missing",
            where=file,
            found=f"only {kind}, to be written as {target}",
            expected=", ".join(to for start, to in TRANSFERS if start == kind) or "NET.prototxt and weights",
            advice="also give the net: rlossctl convert NET.prototxt WEIGHTS -o OUT",
        )
    weights = load_weights(file, kind)
    with atomic_path(out) as written:
        method = way.write(weights, written)
        whole = target == CAFFEMODEL and IMAGE in getattr(weights, "metadata", {})
        lost = (f"not kept: {way.lost}",) if way.lost and not whole else ()
        return Transferred(str(out), method, (*lost, *_doubts(weights)))


def _doubts(weights: Weights) -> tuple[str, ...]:
    """A warning about values that are not finite, which are copied unchanged."""
    if isinstance(weights, TensorFile):
        arrays = ((f"tensor {name!r}", entry.read()) for name, entry in weights.tensors.items())
    else:
        arrays = (
            (f"layer {layer.name!r} blob {index}", blob.array())
            for layer in weights.layers
            for index, blob in enumerate(layer.blobs)
            if blob is not None
        )
    found = list(not_finite(arrays))
    return (f"warning: NaN or infinity, copied unchanged: {describe(found)}",) if found else ()


def tensors_of(weights: Weights) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A weights file as named tensors and their metadata."""
    if isinstance(weights, TensorFile):
        tensors = {name: entry.read() for name, entry in weights.tensors.items()}
        return tensors, {**_source(weights), **weights.metadata}
    metadata = _source(weights)
    if isinstance(weights, CaffeModel):
        bones, tensors = caffemodel_frame.take_apart(weights)
        return tensors, {IMAGE: bones.to_text(), NET: _net_text(weights), **metadata}
    return {
        f"{layer.name}/{index}": blob.array()
        for layer in weights.layers
        for index, blob in enumerate(layer.blobs)
        if blob is not None
    }, metadata


def _source(weights: Weights) -> dict[str, str]:
    """Where the blobs come from; tensors that say so already keep what they say."""
    known = getattr(weights, "metadata", {}).get(provenance.KEY)
    if known is None:
        dialect = _dialect(weights) if isinstance(weights, CaffeModel) else ""
        known = json.dumps(provenance.facts({"weights": weights.path}, dialect))
    return {provenance.KEY: known}


def _dialect(model: CaffeModel) -> str:
    """The dialect of the net inside; "" if none can read it."""
    try:
        return wire.decode_net(model.message_bytes(), model.path)[1]
    except PrototxtError:
        return ""


def _to_safetensors(weights: Weights, out: Path) -> str:
    tensors, metadata = tensors_of(weights)
    out.write_bytes(safetensors.encode(tensors, metadata))
    return _check_tensors(out, SAFETENSORS, weights, tensors)


def _to_checkpoint(weights: Weights, out: Path) -> str:
    tensors, metadata = tensors_of(weights)
    out.write_bytes(checkpoint.encode(tensors, metadata))
    return _check_tensors(out, CHECKPOINT, weights, tensors)


def _check_tensors(out: Path, kind: str, weights: Weights, expected: Mapping[str, np.ndarray]) -> str:
    """Reads the file back: it must have the same tensors and, if a caffemodel is inside, the same bytes."""
    found = load_weights(out, kind)
    if not isinstance(found, TensorFile):
        raise _different(out, found.format)
    if sorted(found.tensors) != sorted(expected):
        raise _different(out, "different tensors")
    for name, array in expected.items():
        read = found.tensors[name].read()
        if read.shape != array.shape or read.dtype != array.dtype or read.tobytes() != array.tobytes():
            raise _different(out, f"a different tensor {name!r}")
    text = f"{counted(len(expected), 'tensor')} equal bit for bit"
    if isinstance(weights, CaffeModel):
        _same_bytes(out, _image(found), weights.view)
        return f"{text}; the caffemodel's {len(weights.view)} bytes, too"
    return text


def _from_tensors(weights: TensorFile, out: Path) -> str:
    """Writes the original caffemodel byte for byte, or a new one with the blobs by layer name."""
    if IMAGE not in weights.metadata:
        return _to_caffemodel(weights, out)
    with out.open("wb") as file:
        for piece in _image(weights):
            file.write(piece)
    found = load_caffemodel(out)
    if not isinstance(found, CaffeModel):
        raise _different(out, found.format)
    _same_bytes(out, _image(weights), found.view)
    return "the caffemodel inside, byte for byte, with the values of the tensors"


def _image(weights: TensorFile) -> Iterator[bytes | memoryview]:
    """The pieces of the caffemodel that a file of tensors was made from."""
    bones = caffemodel_frame.read_skeleton(weights.metadata[IMAGE], weights.path)
    for name, count in bones.counts().items():
        entry = weights.tensors.get(name)
        if entry is None or entry.count != count:
            raise weights.error(
                "does not fit the caffemodel inside",
                name,
                found="no such tensor" if entry is None else f"{entry.count} values",
                expected=f"{count} values",
            )
    return bones.pieces({name: weights.tensors[name].read() for name in bones.counts()})


def _to_caffemodel(weights: Hdf5Model | TensorFile, out: Path) -> str:
    """Writes layers with only a name and blobs, which is all that Caffe reads when it copies weights."""
    layers = [layer for layer in weights.layers if layer.blobs]
    shared = [layer.name for layer in layers if None in layer.blobs]
    if shared:
        raise UsageError(
            "layers share some of their blobs with other layers, and only the net says with which",
            where=weights.path,
            found=", ".join(shared[:5]),
            expected="all blobs of each layer",
            advice="also give the net: rlossctl convert NET.prototxt WEIGHTS -o OUT",
        )
    named = [(layer.name, _modern_arrays(layer)) for layer in layers]
    records = ((encode_bytes(1, name.encode()), list(arrays.values())) for name, arrays in named)
    write_caffemodel(out, weights.name, records)
    return _check_layers(out, CAFFEMODEL, named)


def _to_hdf5(weights: CaffeModel | TensorFile, out: Path) -> str:
    layers = [(layer.name, _modern_arrays(layer)) for layer in weights.layers]
    twice = [name for name, count in Counter(name for name, _ in layers).items() if count > 1]
    if twice:
        raise UsageError(
            "layers share a name, which HDF5 cannot hold",
            where=weights.path,
            found=", ".join(twice[:5]),
            expected="a name for each layer",
            advice="write .safetensors or .pt",
        )
    write_caffemodel_h5(out, layers, _source(weights))
    return _check_layers(out, CAFFEMODEL_H5, layers)


def _modern_arrays(layer: LayerBlobs) -> dict[int, np.ndarray]:
    """A layer's arrays in current shapes: four legacy dimensions become as many as the layer's type has."""
    ranks = RANKS.get(layer.type, ())
    arrays = {}
    for index, blob in enumerate(layer.blobs):
        if blob is None:  # it belongs to another layer
            continue
        shape = blob.shape
        if blob.legacy:
            shape = shape[-ranks[index] :] if index < len(ranks) else blob.squeezed_shape
        arrays[index] = blob.array().reshape(shape)
    return arrays


def _check_layers(out: Path, kind: str, layers: Iterable[tuple[str, Mapping[int, np.ndarray]]]) -> str:
    expected = {f"{name}/{index}": array for name, arrays in layers for index, array in arrays.items()}
    found = {
        f"{layer.name}/{index}": blob.array()
        for layer in load_weights(out, kind).layers
        for index, blob in enumerate(layer.blobs)
        if blob is not None
    }
    for name, array in expected.items():
        if name not in found or found[name].shape != array.shape or found[name].tobytes() != array.tobytes():
            raise _different(out, f"a different blob {name!r}")
    return f"{counted(len(expected), 'blob')} equal bit for bit"


def _copy(weights: Hdf5Model | TensorFile, out: Path) -> str:
    out.write_bytes(Path(weights.path).read_bytes())
    return "opened without an error and copied byte for byte"


def _same_bytes(out: Path, found: Iterable[bytes | memoryview], expected: memoryview) -> None:
    """Compares piece by piece, so that a large file is not in memory twice."""
    whole, at = np.frombuffer(expected, np.uint8), 0
    for piece in found:
        part = np.frombuffer(piece, np.uint8)
        if not np.array_equal(part, whole[at : at + part.size]):
            raise _different(out, f"different bytes from byte {at} on")
        at += part.size
    if at != whole.size:
        raise _different(out, f"{at} bytes instead of {whole.size}")


def _different(out: Path, found: str) -> VerificationError:
    return VerificationError(
        "reads back differently from what was written",
        where=out,
        found=found,
        expected="the same bits",
        advice="nothing was written; report the input file",
    )


def _net_text(model: CaffeModel) -> str:
    """The net inside a caffemodel as readable prototxt; "" if none of the dialects can read it."""
    try:
        return to_text(upgrade(wire.decode_net(model.message_bytes(), model.path)[0], model.path).param)
    except PrototxtError:
        return ""


_TYPES = "layer types and parameters; only names and blobs"
_INSIDE = "layer types and parameters, if neither a caffemodel nor a net is inside the file"
TRANSFERS = {
    (CAFFEMODEL, SAFETENSORS): Transfer(_to_safetensors),
    (CAFFEMODEL, CHECKPOINT): Transfer(_to_checkpoint),
    (CAFFEMODEL, CAFFEMODEL_H5): Transfer(_to_hdf5, f"{_TYPES}; legacy shapes become current ones"),
    (CAFFEMODEL_H5, CAFFEMODEL): Transfer(_to_caffemodel),
    (CAFFEMODEL_H5, SAFETENSORS): Transfer(_to_safetensors),
    (CAFFEMODEL_H5, CHECKPOINT): Transfer(_to_checkpoint),
    (CAFFEMODEL_H5, CAFFEMODEL_H5): Transfer(_copy),
    (SAFETENSORS, CAFFEMODEL): Transfer(_from_tensors, _INSIDE),
    (SAFETENSORS, CAFFEMODEL_H5): Transfer(_to_hdf5, _TYPES),
    (SAFETENSORS, CHECKPOINT): Transfer(_to_checkpoint),
    (SAFETENSORS, SAFETENSORS): Transfer(_copy),
    (CHECKPOINT, CAFFEMODEL): Transfer(_from_tensors, _INSIDE),
    (CHECKPOINT, CAFFEMODEL_H5): Transfer(_to_hdf5, _TYPES),
    (CHECKPOINT, SAFETENSORS): Transfer(_to_safetensors, "entries that are not tensors (optimizer, epoch)"),
    (CHECKPOINT, CHECKPOINT): Transfer(_copy),
}
