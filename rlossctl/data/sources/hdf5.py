"""The source behind HDF5Data: rows of the datasets named like the tops, from a list of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.data.lists import join_root
from rlossctl.data.sources.stream import Item, Source, StreamOptions
from rlossctl.errors import DataError
from rlossctl.files import read_listing
from rlossctl.optional import needed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rlossctl.prototxt.messages import LayerParameter

# First numbers of the random streams' keys; data/sources/order.py uses 0 to 2.
_FILES, _ROWS = 3, 4


class Hdf5Source(Source):
    """Draws batches as HDF5Data does (hdf5_data_layer.cpp): row after row, file after file, without end.

    A batch may continue in the next file. With `shuffle`, the files and the rows of each file come in a new
    order in each round. Numbers of any type become float32. The current file is held in memory as a whole, as
    in Caffe.

    Args:
        layer: a LayerParameter message of type HDF5Data.
        phase: "TRAIN" or "TEST"; makes no difference.
        where, seed: see `Source`. More workers would not help.
        source: list of files to use instead of hdf5_data_param.source.
        root: prefix of the files' names; without it they are relative to the working directory.

    Raises:
        DataError: transform_param, which Caffe refuses too.
    """

    def __init__(
        self,
        layer: LayerParameter,
        phase: str,
        *,
        source: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        param = layer.hdf5_data_param
        options["workers"] = 0
        super().__init__(layer, param.batch_size, **options)
        self.source = param.source if source is None else str(source)
        self.root = str(root or "")
        self._shuffle = param.shuffle
        self._files: list[_File] | None = None
        self._orders: dict[tuple[int, ...], list[int]] = {}
        self._held: tuple[int, list[np.ndarray]] | None = None
        if layer.HasField("transform_param"):
            raise self.error(
                "does not transform data",
                found="transform_param",
                expected="a file with data ready for the net",
                advice="apply mean and scale when writing the file, or with Scale and Bias layers",
            )

    @property
    def files(self) -> list[_File]:
        """The list's files with their shapes; read on first use."""
        if self._files is None:
            names = _read_names(self.source, self.root)
            self._files = [self._inspect(name, line) for name, line in names]
            for file in self._files[1:]:
                if [shape[1:] for shape in file.shapes] != [shape[1:] for shape in self._files[0].shapes]:
                    raise self.error(
                        "the files differ in the shapes of their datasets",
                        where=file.where,
                        found=file.describe(self.tops),
                        expected=self._files[0].describe(self.tops),
                        advice="use a separate layer for each shape",
                    )
        return self._files

    def count(self) -> int:
        return sum(file.rows for file in self.files)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Top name -> the dataset's shape, with the batch size instead of the number of rows."""
        first = self.files[0]
        return {
            top: (self.batch_size, *shape[1:]) for top, shape in zip(self.tops, first.shapes, strict=True)
        }

    def read(self, number: int) -> Item:
        epoch, row = divmod(number, self.count())
        for index in self._permutation(_FILES, epoch, 0, len(self.files)):
            file = self.files[index]
            if row < file.rows:
                break
            row -= file.rows
        row = self._permutation(_ROWS, epoch, index, file.rows)[row]
        return Item(tuple(array[row] for array in self._arrays(index)), f"{file.path}, row {row}")

    def _permutation(self, stream: int, epoch: int, index: int, count: int) -> Sequence[int]:
        if not self._shuffle:
            return range(count)
        key = (stream, self.seed % 2**64, epoch, index)
        if key not in self._orders:
            kept = {known: order for known, order in self._orders.items() if known[0] != stream}
            self._orders = {**kept, key: np.random.default_rng(key).permutation(count).tolist()}
        return self._orders[key]

    def _arrays(self, index: int) -> list[np.ndarray]:
        if self._held is None or self._held[0] != index:
            file = self.files[index]
            with self._opened(file.path, file.where) as content:
                self._held = index, [np.asarray(content[top][()], dtype=np.float32) for top in self.tops]
        return self._held[1]

    def _inspect(self, path: str, line: str) -> _File:
        with self._opened(path, line) as content:
            absent = [top for top in self.tops if not hasattr(content.get(top), "shape")]
            if absent:
                raise self.error(
                    f"the file has no dataset {absent[0]!r}",
                    where=f"{path} (named in {line})",
                    found=", ".join(sorted(content)),
                    expected=", ".join(self.tops),
                    advice="name the layer's tops after the datasets",
                )
            file = _File(path, line, [tuple(content[top].shape) for top in self.tops])
            kinds = [content[top].dtype.kind for top in self.tops]
        rows = {shape[0] if shape else 0 for shape in file.shapes}
        if len(rows) != 1 or 0 in rows or not set(kinds) <= set("fiub"):
            raise self.error(
                "the datasets do not match",
                where=f"{path} (named in {line})",
                found=file.describe(self.tops),
                expected="numbers, with the same number of rows, at least one",
                advice="write the file again",
            )
        return file

    def _opened(self, path: str, line: str) -> Any:
        h5py = needed(
            "h5py",
            "the layer type HDF5Data needs the package h5py",
            path,
            error=DataError,
            otherwise="pip install h5py",
        )
        try:
            return h5py.File(path, "r")
        except OSError as error:
            raise self.error(
                "the HDF5 file cannot be opened",
                where=f"{path} (named in {line})",
                found=str(error),
                expected="an HDF5 file",
                advice="names in the list are relative to the working directory, or give --root",
            ) from error


class _File:
    def __init__(self, path: str, where: str, shapes: list[tuple[int, ...]]) -> None:
        self.path, self.where, self.shapes = path, where, shapes

    @property
    def rows(self) -> int:
        return self.shapes[0][0]

    def describe(self, tops: list[str]) -> str:
        return ", ".join(f"{top} {shape}" for top, shape in zip(tops, self.shapes, strict=True))


def _read_names(source: str, root: str) -> list[tuple[str, str]]:
    """(path, list:line) of every word in the list."""
    try:
        lines = read_listing(source).split("\n")
    except OSError as error:
        raise DataError(
            "the list cannot be read",
            where=source or "hdf5_data_param.source",
            found=error.strerror or str(error),
            expected="a text file with the names of HDF5 files",
            advice="correct hdf5_data_param.source, or name another list (--data)",
        ) from error
    names = [
        (join_root(root, name), f"{source}:{number}")
        for number, line in enumerate(lines, start=1)
        for name in line.split()
    ]
    if not names:
        raise DataError("the list is empty", where=source, found="no name", expected="HDF5 files")
    return names
