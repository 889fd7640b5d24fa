"""What a converted file says of its origin: names and SHA-256 of its sources, the tool, the dialect.

`facts` makes this; each format has a place for it: safetensors and ONNX in their metadata, checkpoints under
a key, HDF5 in an attribute, a prototxt in a comment. A caffemodel has none: Caffe has no field for it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import rlossctl
from rlossctl.files import sha256_of
from rlossctl.resources import is_named, named_text

KEY = "source"
COMMENT = "# Written by rlossctl convert: "
Facts = dict[str, dict[str, str]]
_NOT_FILES = ("tool", "net")
_HEAD = 1 << 16  # bytes of a prototxt in which the comment is looked for


def facts(files: Mapping[str, str | os.PathLike[str]], dialect: str = "") -> Facts:
    """Name and SHA-256 of each file, the tool's version, and the net's dialect where it is known.

    Args:
        files: by what they are: prototxt, weights, configuration.
    """
    found = {kind: _name_and_hash(Path(path)) for kind, path in files.items()}
    found["tool"] = {"name": "rlossctl", "version": rlossctl.__version__}
    return {**found, "net": {"dialect": dialect}} if dialect else found


def read(text: str) -> Facts:
    """`facts` from its JSON; empty if the text, which anybody may have written, is something else."""
    try:
        content = json.loads(text)
        entries = {kind: dict(entry) for kind, entry in content.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    plain = all(isinstance(value, str) for entry in entries.values() for value in entry.values())
    return entries if plain else {}


def comment(origin: Mapping[str, Mapping[str, str]]) -> str:
    """The first line of a prototxt."""
    return f"{COMMENT}{json.dumps(origin)}\n"


def of_prototxt(path: Path) -> Facts:
    """What the comment of a prototxt says; empty if it has none, or is one of rlossctl's own nets."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        first = file.read(_HEAD).decode("utf-8", "replace").partition("\n")[0]
    return read(first.removeprefix(COMMENT)) if first.startswith(COMMENT) else {}


def lines(origin: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """What `inspect` prints."""
    for kind, entry in origin.items():
        if kind not in _NOT_FILES:
            yield f"made from       {kind} {entry.get('name', '?')}, SHA-256 {entry.get('sha256', '?')}"
    tool, net = origin.get("tool"), origin.get("net")
    if tool:
        dialect = f", dialect {net['dialect']}" if net and "dialect" in net else ""
        yield f"made by         {tool.get('name', '?')} {tool.get('version', '?')}{dialect}"


def _name_and_hash(path: Path) -> dict[str, str]:
    if is_named(path):
        return {"name": str(path), "sha256": hashlib.sha256(named_text(path).encode()).hexdigest()}
    return {"name": path.name, "sha256": sha256_of(path)}
