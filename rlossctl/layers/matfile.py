"""MatWrite and MatRead of the rloss fork: blobs as MATLAB files."""

from __future__ import annotations

import functools
import os
from types import ModuleType

import numpy as np
from torch import Tensor

from rlossctl.errors import DataError, NetError
from rlossctl.files import atomic_write, read_listing
from rlossctl.net.layer import DataLayer, Layer, Setup, Shape
from rlossctl.net.registry import register
from rlossctl.optional import needed
from rlossctl.prototxt.messages import MatReadParameter, MatWriteParameter

VARIABLE = "data"


@register("MatWrite", source="rloss", bottoms=(1, None), tops=0)
class MatWrite(Layer):
    """Writes its bottoms to <prefix><name>_blob_<index>.mat (mat_write_layer.cpp).

    It writes in every pass whose number (from 0) is a multiple of period. name is the first word of the
    pass's line of source, without its last `strip` characters; or iter_<number> without a source. One file
    per bottom holds the whole batch as the single-precision variable `data` of MAT 5, uncompressed, with the
    dimensions (W, H, C, N). Needs scipy (the extra mat).

    Raises:
        DataError: the list has fewer lines than passes, or its names are shorter than `strip`.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.mat_write_param
        self.period, self.passes = param.period, 0
        if self.period < 1:
            raise setup.error("period must be positive", found=self.period)
        check_rank(setup)
        self.names = Names(param, setup)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if bottoms[0].is_meta:
            return ()
        number, self.passes = self.passes, self.passes + 1
        if number % self.period == 0:
            for index, blob in enumerate(bottoms):
                path = self.names.path(number, index)
                write_mat(path, blob.detach().float().cpu().numpy())
        return ()


@register("MatRead", source="rloss", bottoms=0, tops=(1, None), role="data")
class MatRead(DataLayer):
    """Reads its tops from files like MatWrite's, with one image each (mat_read_layer.cpp).

    A pass takes batch_size names. A source starts again after its end; without a source the names are iter_0,
    iter_1, ... All files of a top have the shape of the first. Needs scipy (the extra mat).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source: MatSource = MatSource(setup)

    def shapes(self) -> list[Shape]:
        return self.source.shapes()


class MatSource:
    """Batches for MatRead."""

    def __init__(self, setup: Setup) -> None:
        param = setup.message.mat_read_param
        self._batch, self._tops, self._next = param.batch_size, setup.tops, 0
        if self._batch < 1:
            raise setup.error("batch_size must be positive", found=self._batch)
        self._names = Names(param, setup)
        self._shapes: list[Shape] = []  # of one file per top
        for top in range(self._tops):
            self._shapes.append(self._read(0, top).shape)

    def shapes(self) -> list[Shape]:
        """(batch_size, C, H, W) per top, from the first files."""
        return [(self._batch, *shape[1:]) for shape in self._shapes]

    def next_batch(self) -> list[np.ndarray]:
        """One float32 array per top."""
        numbers = range(self._next, self._next + self._batch)
        batch = [np.concatenate([self._read(number, top) for number in numbers]) for top in range(self._tops)]
        self._next += self._batch
        return batch

    def state(self) -> dict[str, int]:
        """The position of the next batch."""
        return {"next": self._next}

    def restore(self, state: dict[str, int]) -> None:
        """Continues from a `state()`."""
        self._next = int(state["next"])

    def _read(self, number: int, top: int) -> np.ndarray:
        """File `number` of a top, [1, C, H, W]."""
        path = self._names.path(self._names.wrapped(number), top)
        array = read_mat(path)
        expected = self._shapes[top] if top < len(self._shapes) else (1, *array.shape[1:])
        if array.shape != expected:
            raise DataError(
                "the variable `data` has the wrong shape",
                where=path,
                found=array.shape,
                expected=f"{expected} as (N, C, H, W)",
            )
        return array


class Names:
    """File names by pass number: from the list `source`, read when it is first needed, or iter_<number>."""

    def __init__(self, param: MatReadParameter | MatWriteParameter, setup: Setup) -> None:
        self._prefix, self._source, self._strip = param.prefix, param.source, param.strip
        self._where = setup.where
        if not param.HasField("prefix") or param.strip < 0:
            raise setup.error(
                "needs a prefix, and strip must not be negative",
                found=f"prefix {param.prefix!r}, strip {param.strip}",
            )

    def path(self, number: int, index: int) -> str:
        """The file of blob `index` in pass `number`."""
        if self._source and number >= len(self._names):
            raise DataError(
                "the list has fewer lines than passes",
                where=self._source,
                found=f"{len(self._names)} names, pass number {number + 1}",
                expected="a name for every pass (not for every image of a batch)",
            )
        name = self._names[number] if self._source else f"iter_{number}"
        return f"{self._prefix}{name}_blob_{index}.mat"

    def wrapped(self, number: int) -> int:
        """`number`, starting the list again after its end."""
        return number % len(self._names) if self._source else number

    @functools.cached_property
    def _names(self) -> list[str]:
        try:
            lines = read_listing(self._source).splitlines()
        except OSError as error:
            raise DataError(
                "the list of names cannot be read",
                where=self._source,
                found=error.strerror or str(error),
                expected=f"the list that {self._where} names, from the working directory",
            ) from error
        names = [(line.split() or [""])[0] for line in lines]
        for number, name in enumerate(names, start=1):
            if len(name) <= self._strip:
                raise DataError(
                    "a name is too short to strip",
                    where=f"{self._source}:{number}",
                    found=repr(name),
                    expected=f"more than {self._strip} characters",
                )
        if not names:
            raise DataError("the list is empty", where=self._source, expected="one name per line")
        return [name[: len(name) - self._strip] for name in names]


def write_mat(path: str, blob: np.ndarray) -> None:
    """Writes a blob of up to 4 axes as the variable `data`, dimensions reversed."""
    array = blob.reshape(legacy_shape(blob.shape)).transpose(3, 2, 1, 0)
    scipy = _scipy(path)
    with atomic_write(path) as file:
        scipy.savemat(file, {VARIABLE: array}, format="5", do_compression=False)


def read_mat(path: str | os.PathLike[str]) -> np.ndarray:
    """The variable `data` as float32 (N, C, H, W); missing dimensions are 1.

    Raises:
        DataError: no such file, not a MAT 5 file, or without a real array `data` of up to 4 dimensions.
    """
    scipy = _scipy(path)
    try:
        content = scipy.loadmat(os.fspath(path), variable_names=[VARIABLE])
        found = content.get(VARIABLE)
    except Exception as error:  # scipy raises many types
        raise _unreadable(path, str(error)) from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu" or not 1 <= found.ndim <= 4:
        raise _unreadable(path, "no such variable" if found is None else f"{type(found).__name__}")
    array = found.reshape(found.shape + (1,) * (4 - found.ndim), order="F")
    return np.ascontiguousarray(array.transpose(3, 2, 1, 0), np.float32)


def check_rank(setup: Setup) -> None:
    """Refuses bottoms with more than 4 axes, which have no num, channels, height and width."""
    for shape in setup.bottoms:
        if len(shape) > 4:
            raise setup.error("cannot write a blob with more than 4 axes", found=shape)


def legacy_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """num, channels, height, width of a blob with up to 4 axes; missing ones are 1 (Blob::LegacyShape)."""
    return (*shape, *(1,) * (4 - len(shape)))


def _unreadable(path: str | os.PathLike[str], found: str) -> DataError:
    return DataError(
        "is not a MATLAB file with a variable `data`",
        where=os.fspath(path),
        found=found,
        expected="a MAT 5 file with a real array `data` of up to 4 dimensions, as written by MatWrite",
    )


def _scipy(path: str | os.PathLike[str]) -> ModuleType:
    return needed(
        "scipy.io",
        "MATLAB files need scipy",
        os.fspath(path),
        error=NetError,
        otherwise="remove MatWrite and MatRead from the prototxt",
    )
