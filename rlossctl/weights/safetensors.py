"""Reading safetensors files. The safetensors library checks the header; the values stay in the file."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights import kinds, wire
from rlossctl.weights.tensors import Entry, TensorFile


def load_safetensors(path: str | os.PathLike[str]) -> TensorFile:
    """Opens a safetensors file and reads the shapes; values are read when needed.

    Raises:
        WeightsError: the file is missing or damaged (tensors that overlap, lie outside or have wrong sizes).
    """
    from safetensors import SafetensorError, safe_open

    wire.open_source(path)  # for its errors about missing and empty files
    try:
        file = safe_open(os.fspath(path), "np")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            "is damaged, or is not a safetensors file",
            where=os.fspath(path),
            found=str(error).removeprefix("Error while deserializing header: "),
            expected="a header whose tensors follow one another in the file and have the stated sizes",
            advice="fetch or write the file again and compare sizes",
        ) from error
    tensors = {name: _entry(file, name, os.fspath(path)) for name in list(file.keys())}
    return TensorFile(os.fspath(path), kinds.SAFETENSORS, tensors, file.metadata() or {})


def _entry(file: Any, name: str, path: str) -> Entry:
    part = file.get_slice(name)
    return Entry(tuple(part.get_shape()), part.get_dtype(), functools.partial(_values, file, name, path))


def _values(file: Any, name: str, path: str) -> np.ndarray:
    try:
        return file.get_tensor(name)
    except (TypeError, AttributeError) as error:  # NumPy lacks bfloat16 and the 8-bit floats
        raise WeightsError(
            "has a type that NumPy does not have",
            where=f"{path}, tensor {name!r}",
            found=file.get_slice(name).get_dtype(),
            expected="F16, F32 or F64",
            advice="convert the tensors to float32 with the tool that wrote them",
        ) from error
