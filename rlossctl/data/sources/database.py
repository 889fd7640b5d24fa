"""The source behind Data: Datum messages in an LMDB, in the order of their keys."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError

from rlossctl.data.bvlc_transform import Transformer
from rlossctl.data.images import decode_image
from rlossctl.data.lmdb_file import Lmdb
from rlossctl.data.sources.stream import Item, Source, StreamOptions
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import DataParameter, Datum, LayerParameter
from rlossctl.weights.mean import load_mean

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DatabaseSource(Source):
    """Draws batches as Data does (data_layer.cpp): one Datum after another, and again from the start.

    A Datum holds uint8 values, float_data, or an encoded picture. A picture keeps its channels unless
    force_encoded_color, or force_color or force_gray of transform_param, says otherwise. A batch takes its
    first Datum's size.

    If the database does not exist, the shapes follow from crop_size and mean alone, with three channels
    unless mean_value, mean_file or force_gray says otherwise; the first batch then checks them.

    Args:
        layer: a LayerParameter message of type Data.
        phase: "TRAIN" or "TEST".
        honour_skip: whether data_param.rand_skip sets how many samples at most are skipped at the start, as
            in Caffe before 2015 (SegNet's fork). Later versions, including BVLC's and the rloss fork, ignore
            it.
        where, seed, workers, image_shape: see `Source`.
        source: database to use instead of data_param.source.
        root: prefix of the database's name, as for the names in a list.

    Raises:
        DataError: a LEVELDB database, or parameters that cannot be combined.
    """

    def __init__(
        self,
        layer: LayerParameter,
        phase: str,
        *,
        honour_skip: bool = False,
        source: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        param = layer.data_param
        super().__init__(layer, param.batch_size, **options)
        self.source = os.path.join(str(root or ""), param.source if source is None else str(source))
        self.transform = Transformer(layer.transform_param, phase, self.where or f"layer {layer.name!r}")
        self._color = True if param.force_encoded_color else self.transform.color
        self._skip = param.rand_skip if honour_skip else 0
        self._leveldb = param.backend != DataParameter.LMDB and not _is_lmdb(self.source)
        self._reader: _Reader | None = None
        self._lock = threading.Lock()
        if not 1 <= len(self.tops) <= 2:
            raise self.error("wrong number of tops", found=len(self.tops), expected="data, or data and label")

    def count(self) -> int:
        return self._open().count

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """data (N, C, h, w), label (N,), from the first Datum or, without the database, from the prototxt."""
        known = self.transform.crop
        size: tuple[int, ...]
        if self.image_shape:
            channels, size = self.image_shape[0], self.image_shape[1:]
        elif known is None or (os.path.exists(self.source) and not self._leveldb):
            number = self.order(rand_skip=self._skip).index(self.position)
            image = self._image(*self._datum(number))
            channels, size = image.shape[0], image.shape[1:]
        else:
            channels, size = self._stated_channels(), known
        data = (self.batch_size, channels, *(known or size))
        return dict(zip(self.tops, (data, (self.batch_size,)), strict=False))

    def read(self, number: int) -> Item:
        order = self.order(rand_skip=self._skip)
        datum, place = self._datum(order.index(number))
        image = self._image(datum, place)
        cut = self.transform.draw(image.shape[1], image.shape[2], order.generator(number), place)
        arrays = self.transform(image, cut, place), np.float32(datum.label)
        return Item(arrays[: len(self.tops)], place)

    def _open(self) -> _Reader:
        if self._reader is None:
            if not self.source:
                raise self.error("no database is named", found="source: ''", expected="an LMDB's folder")
            if self._leveldb:
                raise self.error(
                    "LEVELDB is not supported",
                    found=f"backend: LEVELDB (Caffe's default), source {self.source}",
                    expected="backend: LMDB",
                    advice="convert the database to LMDB (convert_imageset -backend lmdb writes one), or use "
                    "ImageData with a list",
                )
            with self._lock:
                self._reader = self._reader or _Reader(self.source)
        return self._reader

    def _datum(self, index: int) -> tuple[Datum, str]:
        key, value = self._open().get(index)
        place = f"{self.source}, key {key.decode('utf-8', 'backslashreplace')!r}"
        datum = Datum()
        try:
            datum.ParseFromString(value)
        except DecodeError as error:
            raise self.error(
                "the entry is not a Datum",
                where=place,
                found=f"{len(value)} bytes ({error})",
                expected="a Datum as written by convert_imageset",
                advice="write the database again",
            ) from error
        return datum, place

    def _image(self, datum: Datum, place: str) -> np.ndarray:
        """uint8 or float32 [C, H, W] of a Datum."""
        if datum.encoded:
            return decode_image(datum.data, place, self._color).transpose(2, 0, 1)
        values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
        shape = datum.channels, datum.height, datum.width
        if min(shape) < 1 or values.size != shape[0] * shape[1] * shape[2]:
            raise self.error(
                "the Datum's size does not fit its content",
                where=place,
                found=f"{values.size} values, {shape[0]}x{shape[1]}x{shape[2]} (C x H x W)",
                expected="C * H * W bytes in data, or numbers in float_data, or encoded: true",
                advice="write the database again",
            )
        return values.reshape(shape)

    def _stated_channels(self) -> int:
        if self._color is not None:
            return 3 if self._color else 1
        if len(self.transform.mean_value) > 1:
            return len(self.transform.mean_value)
        if os.path.isfile(self.transform.mean_file):
            return load_mean(self.transform.mean_file).shape[0]
        return 3


class _Reader:
    """Entries of an LMDB by position in key order; a neighbour costs one step of the cursor."""

    def __init__(self, path: str) -> None:
        self._database = Lmdb(path)
        self._lock = threading.Lock()
        self._at: int | None = None
        self.count = self._database.entries
        if not self.count:
            raise DataError(
                "the database is empty",
                where=path,
                found="no entries",
                expected="one Datum per image",
                advice="write the database again",
            )

    def get(self, index: int) -> tuple[bytes, bytes]:
        """Key and value of an entry; threads may ask in any order."""
        with self._lock:
            if self._at is None or index < abs(index - self._at):
                self._database.first()
                self._at = 0
            while self._at != index:
                step = 1 if index > self._at else -1
                self._database.move(step)
                self._at += step
            return self._database.item()


def _is_lmdb(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "data.mdb"))
