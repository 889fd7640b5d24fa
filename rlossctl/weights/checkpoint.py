"""Reading PyTorch checkpoints (.pt, .pth, .pth.tar) without running their content.

`torch.load(weights_only=True)` creates only tensors and plain containers. NumPy's numbers are also allowed,
because training scripts often store a best score as one.
"""

from __future__ import annotations

import functools
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlossctl.errors import WeightsError
from rlossctl.weights import kinds, wire
from rlossctl.weights.tensors import Entry, TensorFile

# Keys under which training scripts store their tensors, in the order of the search.
PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
_TEXTS = ("prototxt", "shared", "source", "untrained", "caffemodel")  # metadata of our own checkpoints
MAX_TENSORS = 1_000_000
EXPECTED = "a PyTorch checkpoint of tensors and plain containers"


def load_checkpoint(path: str | os.PathLike[str]) -> TensorFile:
    """Opens a checkpoint of any age; a zip's tensors are mapped, not read.

    Raises:
        WeightsError: the file is missing, is damaged, would run code, has compressed entries or tensors
            larger than their storage, or has no tensors.
    """
    name = os.fspath(path)
    source = wire.open_source(path)
    zipped = bytes(source.view[:4]) == b"PK\x03\x04"
    if zipped:
        _check_zip(name)
    content = _load(name, zipped)
    inside, tensors = _find(content)
    if not tensors:
        raise WeightsError(
            "holds no tensors",
            where=name,
            found=f"{type(content).__name__} with {', '.join(map(str, content)) or 'no entries'}"
            if isinstance(content, Mapping)
            else type(content).__name__,
            expected="a state_dict, or a dictionary with one under " + ", ".join(PLACES),
            advice="save model.state_dict(), not the model",
        )
    entries = {key: _entry(name, key, tensor) for key, tensor in tensors.items()}
    top = content if inside else {}
    metadata = {key: text for key in _TEXTS if key in top and (text := _text(top[key])) is not None}
    extra = {str(key): value for key, value in top.items() if key != inside and key not in metadata}
    others = {key: _words(value) for key, value in extra.items()}
    return TensorFile(name, kinds.CHECKPOINT, entries, metadata, inside, others, extra)


def _load(name: str, zipped: bool) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(_numbers()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; unreadable files are errors below
            return torch.load(name, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "holds something other than tensors and plain containers, which could run code",
            where=name,
            found=_refused(error),
            expected=EXPECTED,
            advice="nothing in it was run; if you trust it, load it with PyTorch and save its state_dict",
        ) from error
    except Exception as error:  # the unpickler meets damaged bytes with exceptions of nearly every type
        raise _damaged(name, "the checkpoint", error) from error


def _damaged(name: str, what: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"{what} is damaged",
        where=name,
        found=_first_line(error),
        expected=EXPECTED,
        advice="fetch or write the file again and compare sizes",
    )


def _check_zip(name: str) -> None:
    """Refuses compressed entries: torch.save never compresses, and such an entry could grow without limit."""
    try:
        with zipfile.ZipFile(name) as archive:
            entries = archive.infolist()
    except Exception as error:  # also what names and numbers of a damaged directory lead to
        raise _damaged(name, "the zip archive", error) from error
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise WeightsError(
            "has compressed entries, which checkpoints never have",
            where=name,
            found=f"{packed[0].filename}: {packed[0].compress_size} bytes that become {packed[0].file_size}",
            expected="uncompressed entries",
            advice="an .npz or another archive is not a checkpoint: give the file that torch.save wrote",
        )


def _find(content: Any) -> tuple[str, dict[str, Any]]:
    """The key under which the tensors are stored ("" for the top level), and the tensors by name."""
    if not isinstance(content, Mapping):
        return "", {}
    place = next((key for key in PLACES if isinstance(content.get(key), Mapping)), "")
    import torch

    found = content[place] if place else content
    tensors = {str(key): value for key, value in found.items() if isinstance(value, torch.Tensor)}
    return place, dict(list(tensors.items())[:MAX_TENSORS])


def _entry(path: str, name: str, tensor: Any) -> Entry:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_sparse or tensor.is_quantized or tensor.device.type == "meta":
        raise _tensor_error(path, name, "is not a plain tensor", f"{dtype}, {tensor.layout}", "dense values")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise _tensor_error(
            path,
            name,
            "is larger than its stored data",
            f"shape {tuple(tensor.shape)} on {tensor.untyped_storage().nbytes()} bytes",
            "a stored value for each value of the tensor",
        )
    return Entry(tuple(tensor.shape), dtype, functools.partial(_values, tensor))


def _values(tensor: Any) -> np.ndarray:
    import torch

    plain = tensor.detach()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).contiguous().numpy()


def _tensor_error(path: str, name: str, message: str, found: str, expected: str) -> WeightsError:
    return WeightsError(
        message,
        where=f"{path}, tensor {name!r}",
        found=found,
        expected=expected,
        advice="save the model's state_dict as plain tensors",
    )


def _numbers() -> list[Any]:
    """NumPy's scalar types that the unpickler may create, under the names of NumPy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]

    def old_scalar(*arguments: Any) -> Any:
        return scalar(*arguments)

    old_scalar.__module__, old_scalar.__qualname__ = "numpy.core.multiarray", "scalar"
    dtypes = {type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")}
    return [scalar, old_scalar, np.dtype, *dtypes]


def _text(value: Any) -> str | None:
    """What `convert` stores beside the tensors, as text; None for what it never stores there."""
    import json

    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None


def _words(value: Any) -> str:
    if isinstance(value, bool | int | float | str | np.generic):
        return str(value)[:80]
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"


def _refused(error: Exception) -> str:
    """The thing that the unpickler refused, extracted from its long message."""
    text = str(error).replace("WeightsUnpickler error:", "\n")
    around = ("Weights only load failed", "Please file an issue", "Check the documentation")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return next((line for line in lines if not line.startswith(around)), lines[0])[:300]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300] or type(error).__name__
