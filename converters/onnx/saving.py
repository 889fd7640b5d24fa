"""Writes the finished model: its ends and metadata, and large weights in a second file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.converters.onnx.attach import Ends, attach
from rlossctl.converters.onnx.image_metadata import describe_image
from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.files import give_name

if TYPE_CHECKING:
    from onnx import ModelProto

HASH = 16  # hexadecimal digits of the hash in a name
LARGEST = 2**31 - 2**20  # bytes of weights that fit in one protobuf message with everything else


def save(model: ModelProto, ends: Ends, card: ModelCard, path: Path) -> str:
    """Attaches the ends and the card, and writes the file; a large file gets its weights in a second one.

    Returns:
        The name of the (first) output.
    """
    import onnx

    source, result = attach(model, ends, card.num_classes)
    if ends != Ends():
        card = replace(card, input=source, output=result)
    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=card.to_json())
    describe_image(model, card)
    model.producer_name, model.producer_version = "rlossctl", card.version
    weights = sum(len(entry.raw_data) for entry in model.graph.initializer)
    large = weights > LARGEST
    beside = f"{path.name}.{_content_hash(model)}.data" if large else None
    onnx.save_model(model, path, save_as_external_data=large, location=beside)
    return result


def _content_hash(model: ModelProto) -> str:
    """A hash that identifies a model's weights."""
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        digest.update(f"{tensor.name} {tensor.data_type} {len(tensor.raw_data)}\n".encode())
        digest.update(tensor.raw_data)
    return digest.hexdigest()[:HASH]


def data_beside(path: Path, called: str) -> list[Path]:
    """The weights files in the folder of `path` that belong to a model called `called`."""
    pattern = re.compile(rf"{re.escape(called)}\.[0-9a-f]{{{HASH}}}\.data")
    return [file for file in path.parent.iterdir() if pattern.fullmatch(file.name)]


def place_data(written: Path, out: Path) -> tuple[list[str], Path | None]:
    """Moves a large file's separate weights to its folder, before the file itself gets its name.

    Returns:
        Notes, and the file with the weights.
    """
    found = data_beside(written, written.name)
    if not found:
        return [], None
    (data,) = found
    target = out.with_name(data.name)
    give_name(data, target)
    words = f"note: one ONNX file holds at most 2 GB, so the weights are in {data.name}, beside it"
    return [words], target


def remove_older_data(out: Path, data: Path | None) -> None:
    """Removes the weights of earlier files called `out`."""
    for file in data_beside(out, out.name):
        if file != data:
            file.unlink(missing_ok=True)
