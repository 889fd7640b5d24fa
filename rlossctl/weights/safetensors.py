"""Reading safetensors files: the header is checked by the safetensors library, values stay in the file."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights import kinds, wire
from rlossctl.weights.tensors import Entry, TensorFile


def load_safetensors(path: str | os.PathLike[str]) -> TensorFile:
    """Opens a safetensors file; shapes are read, values when they are asked for.

    Raises:
        WeightsError: missing or damaged file: tensors that overlap, lie outside or have other sizes.
    """
    from safetensors import SafetensorError, safe_open

    wire.open_source(path)  # its errors about missing and empty files
    try:
        file = safe_open(os.fspath(path), "np")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            "is no safetensors file, or a damaged one",
            where=os.fspath(path),
            found=str(error).removeprefix("Error while deserializing header: "),
            expected="a header of tensors that lie in the file one behind the other, as large as they say",
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
            "has a type that NumPy lacks",
            where=f"{path}, tensor {name!r}",
            found=file.get_slice(name).get_dtype(),
            expected="F16, F32 or F64",
            advice="convert the tensors to float32 with the tool that wrote them",
        ) from error
