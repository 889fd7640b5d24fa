"""Reading safetensors files: the header is checked by the safetensors library, values stay in the file."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights import kinds, wire
from rlossctl.weights.tensors import Entry, TensorFile

# What the library calls its refusals -> what is wrong with the file.
REASONS = {
    "HeaderTooSmall": "is shorter than a header",
    "HeaderTooLarge": "the header's length is impossible",
    "InvalidHeaderLength": "the header's length is beyond the end of the file",
    "InvalidHeaderStart": "the header is no JSON object",
    "InvalidHeaderDeserialization": "the header is no description of tensors",
    "InvalidHeader": "the header is no description of tensors",
    "InvalidOffset": "tensors overlap, leave a gap, or lie outside of the file",
    "TensorInvalidInfo": "a tensor's size is not what its shape and type need",
    "MetadataIncompleteBuffer": "tensors lie beyond the end of the file, or bytes are left over",
    "ValidationOverflow": "a tensor's size overflows",
    "MisalignedSlice": "a tensor does not end on a byte",
}


def load_safetensors(path: str | os.PathLike[str]) -> TensorFile:
    """Opens a safetensors file; shapes are read, values when they are asked for.

    Raises:
        WeightsError: missing or damaged file: overlapping tensors, offsets out of range, sizes that do not fit.
    """
    from safetensors import SafetensorError, safe_open

    wire.open_source(path)  # its errors about missing and empty files
    try:
        file = safe_open(os.fspath(path), "np")
    except (SafetensorError, OSError) as error:
        reason = next((text for name, text in REASONS.items() if name in str(error)), "is damaged")
        raise WeightsError(
            reason,
            where=os.fspath(path),
            found=str(error),
            expected="a safetensors file",
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
