"""HDF5 weights and states (snapshot_format: HDF5) in the layout of Caffe's Net::ToHDF5 and SGDSolver.

Model: `data/<layer>/<index>`, with a group for every layer and a dataset for every parameter the layer owns;
`diff/...` likewise with snapshot_diff. State: `iter`, `learned_net`, `current_step`, `history/<index>`.
A layer name with a slash makes nested groups; Caffe cannot write these, but they are read and written here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.files import atomic_write, require_regular
from rlossctl.optional import needed
from rlossctl.weights.blobs import MAX_COUNT, Blob, LayerBlobs

if TYPE_CHECKING:
    from types import ModuleType

    import h5py

Arrays = Mapping[int, np.ndarray]
MAX_BLOBS = 1000  # no layer has more; keeps a hostile index from making a huge list


@dataclasses.dataclass(frozen=True, eq=False)
class Hdf5Model:
    """A .caffemodel.h5. The shapes are read at once, the values when an array is needed.

    Layers come in the order of their names, because HDF5 keeps no other order. Types and parameters are not
    in the file. A blob that the layer shares with an earlier one is None, or absent at the list's end.
    `metadata` has the file's attributes that are texts.
    """

    path: str
    layers: list[LayerBlobs]
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = ""
    format: ClassVar[str] = "hdf5"


def load_model(path: str | os.PathLike[str]) -> Hdf5Model:
    """Reads the headers of an HDF5 model.

    Raises:
        WeightsError: h5py is missing, or the file is damaged or not a Caffe model.
    """
    with _opened(path) as file:
        if not hasattr(file.get("data"), "items"):
            raise _error(
                path, "does not hold a Caffe model", found=sorted(file), expected="a group named data"
            )
        groups = _layer_groups(file["data"], "")
        layers = [LayerBlobs(name, "", _blobs(path, group)) for name, group in groups]
        texts = {key: text for key, text in file.attrs.items() if isinstance(text, str)}
        return Hdf5Model(os.fspath(path), layers, texts)


def write_caffemodel_h5(
    path: str | os.PathLike[str],
    layers: Iterable[tuple[str, Arrays] | tuple[str, Arrays, Arrays]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes an HDF5 model atomically (built in memory first).

    Args:
        path: the file to write.
        layers: (name, arrays by blob index[, diffs by blob index]) for every layer, including those without
            blobs. Caffe writes only the arrays of owned parameters, but the diffs of all.
        metadata: texts for attributes of the file, which Caffe does not read.
    """

    def fill(file: h5py.File) -> None:
        file.create_group("data")
        file.attrs.update(metadata or {})
        for name, arrays, *diffs in layers:
            for kind, values in zip(("data", "diff"), (arrays, *diffs), strict=False):
                group = file.require_group(f"{kind}/{name}")
                for index, array in values.items():
                    group.create_dataset(str(index), data=np.asarray(array, "<f4"))

    _write(path, fill)


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The attributes of a `SolverState` from an HDF5 state.

    Raises:
        WeightsError: h5py is missing, or the file is damaged or not a solver state.
    """
    with _opened(path) as file:
        if not hasattr(file.get("history"), "items"):
            raise _error(
                path, "does not hold a solver state", found=sorted(file), expected="a group named history"
            )
        history = _blobs(path, file["history"])
        present = [blob for blob in history if blob is not None]
        if len(present) < len(history):
            raise _error(
                path,
                "the history has a gap",
                found=f"no history/{history.index(None)}",
                expected=f"history/0 to history/{len(history) - 1}",
            )
        return {
            "iter": int(_scalar(path, file, "iter", "iu")),
            "learned_net": _scalar(path, file, "learned_net", "SO").decode("utf-8", "surrogateescape"),
            "current_step": int(_scalar(path, file, "current_step", "iu")),
            "history": [blob.array() for blob in present],
        }


def write_state(
    path: str | os.PathLike[str],
    iteration: int,
    learned_net: str,
    current_step: int,
    history: Sequence[np.ndarray],
) -> None:
    """Writes an HDF5 solver state atomically, with `learned_net` as a zero-terminated C string."""

    def fill(file: h5py.File) -> None:
        raw = learned_net.encode("utf-8", "surrogateescape")
        file.create_dataset("iter", data=np.array([iteration], "<i4"))
        file.create_dataset("learned_net", data=np.array(raw, f"S{len(raw) + 1}"))
        file.create_dataset("current_step", data=np.array([current_step], "<i4"))
        group = file.create_group("history")
        for index, array in enumerate(history):
            group.create_dataset(str(index), data=np.asarray(array, "<f4"))

    _write(path, fill)


def _write(path: str | os.PathLike[str], fill: Callable[[h5py.File], None]) -> None:
    image = io.BytesIO()
    with _h5py(path).File(image, "w") as file:
        fill(file)
    with atomic_write(path) as target:
        target.write(image.getbuffer())


def _layer_groups(group: h5py.Group, prefix: str) -> Iterator[tuple[str, h5py.Group]]:
    import h5py

    for name, child in group.items():
        if not isinstance(child, h5py.Group):
            continue
        groups = [inner for inner in child.values() if isinstance(inner, h5py.Group)]
        if len(groups) < len(child) or not groups:
            yield prefix + name, child
        yield from _layer_groups(child, f"{prefix}{name}/") if groups else ()


def _blobs(path: str | os.PathLike[str], group: h5py.Group) -> list[Blob | None]:
    found = {}
    for name, child in group.items():
        if not hasattr(child, "shape"):
            continue
        if not name.isdecimal() or child.dtype.kind != "f" or math.prod(child.shape) > MAX_COUNT:
            raise _error(
                path,
                "a dataset is not a blob",
                found=f"{child.name} of type {child.dtype} and shape {child.shape}",
                expected=f"floats, at most {MAX_COUNT}, under a name that is a number",
            )
        found[int(name)] = Blob(tuple(child.shape), False, functools.partial(_values, path, child.name))
    if max(found, default=0) >= MAX_BLOBS:
        raise _error(
            path, "too many blobs", found=f"{group.name}/{max(found)}", expected=f"indices below {MAX_BLOBS}"
        )
    return [found.get(index) for index in range(max(found, default=-1) + 1)]


def _scalar(path: str | os.PathLike[str], file: h5py.File, name: str, kinds: str) -> Any:
    item = file.get(name)
    if not hasattr(item, "dtype") or item.dtype.kind not in kinds or item.size != 1:
        raise _error(path, f"{name} is missing or has the wrong type", found=item, expected="one value")
    return np.ravel(item[()])[0]


def _values(path: str | os.PathLike[str], name: str) -> np.ndarray:
    with _opened(path) as file:
        return file[name][()].astype(np.float32, copy=False)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    module = _h5py(path)
    try:
        require_regular(path)
        with module.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise _error(
            path, "the HDF5 file is damaged", found=str(error), expected="an HDF5 file written by Caffe"
        ) from error


def _h5py(path: str | os.PathLike[str]) -> ModuleType:
    return needed(
        "h5py",
        "HDF5 files need h5py",
        os.fspath(path),
        error=WeightsError,
        otherwise="use the binary .caffemodel and .solverstate",
    )


def _error(path: str | os.PathLike[str], message: str, *, found: object, expected: object) -> WeightsError:
    return WeightsError(
        message,
        where=os.fspath(path),
        found=found,
        expected=expected,
        advice="give the .h5 file that Caffe wrote; if it was copied or downloaded, compare its size",
    )
