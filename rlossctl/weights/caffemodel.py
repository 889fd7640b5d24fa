"""Reading a .caffemodel: layers, names, types and blobs, without reading the values.

Opening a file reads only its outermost fields. Layer headers are read when `layers` is first used, values
when an array is used. Unknown fields are kept: an unmodified model writes back the bytes from which it was
read. Field numbers: BVLC caffe.proto, NetParameter, LayerParameter, V1LayerParameter, V0LayerParameter.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from rlossctl.errors import WeightsError
from rlossctl.files import atomic_write
from rlossctl.weights import wire
from rlossctl.weights.blobs import Blob, LayerBlobs
from rlossctl.weights.magic import is_hdf5, refuse_foreign
from rlossctl.weights.parse import parse_layer
from rlossctl.weights.wire import LENGTH, VARINT, Field, Source

if TYPE_CHECKING:
    import numpy as np

    from rlossctl.weights.hdf5 import Hdf5Model

NET_NAME, NET_V1_LAYERS, NET_LAYER = 1, 2, 100
EXPECTED = "a binary .caffemodel (NetParameter) or an HDF5 .caffemodel.h5"


class CaffeModel:
    """A binary .caffemodel, mapped into memory. See `load_caffemodel`."""

    format: ClassVar[str] = "binaryproto"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fields = [field for field in wire.walk(source, 0, len(source.view)) if self._is_known(field)]
        versions = {field.number for field in self._fields} & {NET_LAYER, NET_V1_LAYERS}
        if len(versions) != 1:
            raise WeightsError(
                "holds both old and new layers" if versions else "holds no layers",
                where=source.name,
                found="fields 2 (layers) and 100 (layer)" if versions else f"{len(source.view)} bytes",
                expected=EXPECTED,
                advice="give the file that Caffe wrote; no version of Caffe writes a file like this",
            )

    @property
    def path(self) -> str:
        """The file the model was read from."""
        return self._source.name

    @property
    def view(self) -> memoryview:
        """The file's bytes."""
        return self._source.view

    @property
    def name(self) -> str:
        """The net's name; "" if the file has none."""
        names = [wire.text(self._source, field) for field in self._fields if field.number == NET_NAME]
        return names[-1] if names else ""

    @functools.cached_property
    def layers(self) -> list[LayerBlobs]:
        """All layers in the order of the file, including those without blobs.

        Raises:
            WeightsError: a layer or blob is damaged; names it and the byte.
        """
        fields = [field for field in self._fields if field.number in (NET_LAYER, NET_V1_LAYERS)]
        return [
            parse_layer(self._source, field, index, field.number == NET_V1_LAYERS)
            for index, field in enumerate(fields)
        ]

    def message_bytes(self) -> bytes:
        """The file's NetParameter without its blobs: small, ready for a protobuf parser."""
        view = self._source.view
        out = bytearray()
        at = 0
        fields = (field for field in self._fields if field.number != NET_NAME)
        for field, layer in zip(fields, self.layers, strict=True):
            out += view[at : field.at]
            out += wire.encode_bytes(field.number, layer.message_bytes())
            at = field.end
        return bytes(out + view[at:])

    def with_blobs(self, values: Mapping[tuple[str, int], np.ndarray]) -> CaffeModel:
        """A model with the values of some blobs replaced and every other byte of the file unchanged.

        Args:
            values: (layer name, blob index) -> array of the blob's shape, kept as float32. If several
                layers have the name, it means the first one with blobs.

        Raises:
            WeightsError: the layer or blob does not exist, or the shape differs.
        """
        model = CaffeModel.__new__(CaffeModel)
        model._source, model._fields = self._source, self._fields
        model.layers = list(self.layers)
        for (name, index), array in values.items():
            at, blob = self._find(name, index)
            layer = model.layers[at]
            blobs = list(layer.blobs)
            blobs[index] = blob.with_values(array, f"{self.path}: blob {index} of layer {name!r}")
            model.layers[at] = dataclasses.replace(layer, blobs=blobs)
        return model

    def to_bytes(self) -> bytes:
        """The file's bytes, with the replaced blobs."""
        return b"".join(self._pieces())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_bytes()` piece by piece, atomically. The model's own file may be overwritten."""
        with atomic_write(path) as file:
            for piece in self._pieces():
                file.write(piece)

    def _pieces(self) -> Iterator[memoryview]:
        view = self._source.view
        replaced = [
            blob for layer in self.layers for blob in layer.blobs if blob is not None and blob.replaced
        ]
        patches = [patch for blob in replaced for patch in blob.patches(view)]
        at = 0
        for start, end, data in sorted(patches, key=lambda patch: patch[0]):
            yield view[at:start]
            yield data.data
            at = end
        yield view[at:]

    def _find(self, name: str, index: int) -> tuple[int, Blob]:
        named = [at for at, layer in enumerate(self.layers) if layer.name == name]
        full = next((at for at in named if self.layers[at].blobs), -1)
        count = 0 if full < 0 else len(self.layers[full].blobs)
        blob = self.layers[full].blobs[index] if 0 <= index < count else None
        if blob is not None:
            return full, blob
        raise WeightsError(
            "there is no such blob",
            where=self.path,
            found=f"layer {name!r} with {count} blobs" if named else f"no layer {name!r}",
            expected=f"blob {index} of layer {name!r}",
            advice="`rlossctl inspect` shows the layers and blobs of the file",
        )

    def _is_known(self, field: Field) -> bool:
        if field.number == NET_NAME and field.wire == VARINT:
            raise self._source.error(
                field.at,
                "",
                "is another kind of protobuf file",
                found="field 1 is a number, as in a .solverstate, a mean .binaryproto or an ONNX model",
                expected=EXPECTED,
                advice="give the .caffemodel that belongs to it",
            )
        if field.number not in (NET_NAME, NET_V1_LAYERS, NET_LAYER):
            return False
        wire.expect_wire(self._source, field, LENGTH, "", "a name or layer of a NetParameter")
        return True


def load_caffemodel(path: str | os.PathLike[str]) -> CaffeModel | Hdf5Model:
    """Opens a weights file of any age: binary (new, V1 and V0 layers) or HDF5; the content decides.

    Both results have `name`, `path`, `format` and `layers`. A binary file is mapped, not read. Opening it
    takes milliseconds regardless of its size, and arrays are views of the file, so do not truncate it while
    the model is in use (replacing it by renaming is safe).

    Raises:
        WeightsError: the file is missing, empty, truncated, damaged or of another kind.
    """
    source = wire.open_source(path)
    if is_hdf5(source):
        from rlossctl.weights import hdf5

        return hdf5.load_model(path)
    refuse_foreign(source, EXPECTED)
    return CaffeModel(source)
