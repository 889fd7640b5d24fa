"""`-` as a file: standard input and output, by way of a temporary file, because formats are not read in one go."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def is_dash(path: Path | None) -> bool:
    """Whether a file name stands for a stream."""
    return path is not None and str(path) == "-"


@contextlib.contextmanager
def read(path: Path | None) -> Iterator[Path | None]:
    """The path itself, or for `-` a file with all of standard input."""
    if not is_dash(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdin"
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield file


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """The path itself, or for `-` a file that goes to standard output once it is complete."""
    if not is_dash(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdout"
        yield file
        with file.open("rb") as copy:
            shutil.copyfileobj(copy, sys.stdout.buffer)
        sys.stdout.buffer.flush()
