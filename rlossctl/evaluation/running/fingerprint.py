"""A hash that identifies a model, whatever its files are called."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping


def hash_files(files: Iterable[str | os.PathLike[str]], settings: Mapping[str, object] | None = None) -> str:
    """SHA-256 of the content of files and of settings."""
    digest = hashlib.sha256(json.dumps(settings or {}, sort_keys=True, default=str).encode())
    for name in files:
        with open(name, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
        digest.update(b"\0end")
    return digest.hexdigest()
