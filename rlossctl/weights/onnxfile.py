"""Reading ONNX files without running them. External data is checked before anything opens it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from rlossctl.errors import WeightsError
from rlossctl.files import require_regular
from rlossctl.weights.finite import NotFinite, not_finite

if TYPE_CHECKING:
    import numpy as np
    from google.protobuf.message import Message
    from onnx import ModelProto, TensorProto

_FLOATS = (1, 10, 11)  # TensorProto's FLOAT, FLOAT16, DOUBLE


def load_onnx(path: Path) -> ModelProto:
    """The model without its external data. The external data's locations are checked.

    Raises:
        WeightsError: the file is missing or damaged, or external data lies outside the model's folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        require_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is an error below
            model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise WeightsError(
            "cannot be read as an ONNX model",
            where=path,
            found=str(error).split("\n", 1)[0] or type(error).__name__,
            expected="an ONNX model",
            advice="fetch or write the file again",
        ) from error
    if not model.HasField("graph"):
        raise WeightsError("is not an ONNX model", where=path, found="no graph", expected="an ONNX model")
    for message in _messages(path, model):
        if isinstance(message, onnx.TensorProto):
            _check_tensor(path, message)
    return model


def tensor_values(path: Path, tensor: TensorProto) -> np.ndarray:
    """An initializer's values. External values are read from files beside the model.

    Raises:
        WeightsError: the file with the values is missing, or is too short for the shape.
    """
    from onnx import numpy_helper
    from onnx.checker import ValidationError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keys that external data may have besides
            return numpy_helper.to_array(tensor, str(path.resolve().parent))
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, MemoryError, ValidationError) as error:
        raise WeightsError(
            "a tensor's values cannot be read",
            where=f"{path}, tensor {tensor.name!r}",
            found=str(error).split("\n", 1)[0],
            expected=f"{math.prod(tensor.dims)} values",
            advice="fetch the model together with its external data files",
        ) from error


def missing_files(path: Path) -> list[str]:
    """Names of the files with external data that are not beside the model; none if it cannot be read."""
    try:
        model = load_onnx(path)
    except WeightsError:
        return []
    named = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(name for name in named if not (path.resolve().parent / name).exists())


def _messages(path: Path, message: Message) -> Iterator[Message]:
    """All inside the message, and then the message; their texts are checked to be text first."""
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        values: Any = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING:
            for text in values:
                if not isinstance(text, str):  # protobuf gives bytes where they are not UTF-8
                    raise WeightsError(
                        f"the {field.name} of a {message.DESCRIPTOR.name} is not text",
                        where=path,
                        found=repr(text)[:80],
                        expected="UTF-8",
                        advice="fetch or write the file again",
                    )
        elif field.type == field.TYPE_MESSAGE:
            for inner in values:
                yield from _messages(path, inner)
    yield message


def _check_tensor(path: Path, tensor: TensorProto) -> None:
    if any(size < 0 for size in tensor.dims):
        raise WeightsError(
            "a tensor has a negative size",
            where=f"{path}, tensor {tensor.name!r}",
            found="x".join(map(str, tensor.dims)),
            expected="sizes of at least 0",
            advice="fetch or write the file again",
        )
    for entry in tensor.external_data:
        if entry.key == "location":
            _check_place(path, tensor.name, entry.value)
        elif entry.key in ("offset", "length") and not (entry.value.isascii() and entry.value.isdecimal()):
            raise WeightsError(
                f"the {entry.key} of a tensor's external data is not a number",
                where=f"{path}, tensor {tensor.name!r}",
                found=repr(entry.value)[:80],
                expected="a whole number of bytes",
                advice="fetch or write the file again",
            )


def not_finite_tensors(path: Path, model: ModelProto) -> list[NotFinite]:
    """The initializers with NaN or infinity; those whose external data are not there are left out."""
    folder = path.resolve().parent
    tensors = (
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type in _FLOATS
        and all((folder / entry.value).exists() for entry in tensor.external_data if entry.key == "location")
    )
    return list(not_finite((f"tensor {tensor.name!r}", tensor_values(path, tensor)) for tensor in tensors))


def _check_place(path: Path, tensor: str, location: str) -> None:
    """External data must lie beside the model, on whatever system it was written, and not behind a link."""
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    rooted = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    folder = path.resolve().parent
    named = location.isprintable()  # without a NUL, which ends a name for the system
    if (
        not named
        or not location
        or rooted
        or ".." in parts
        or not (folder / location).resolve().is_relative_to(folder)
    ):
        raise WeightsError(
            "a tensor's external data lies outside the model's folder"
            if named
            else "the location of a tensor's external data is not the name of a file",
            where=f"{path}, tensor {tensor!r}",
            found=repr(location),
            expected="the name of a file beside the model",
            advice="do not run this model: fetch it from a source you trust",
        )
