"""`-` as a file name: standard input and output go through a temporary file, because readers must seek."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rlossctl.errors import RlossError, UsageError


def is_dash(path: Path | None) -> bool:
    """Whether the file name is `-`, which means a stream."""
    return path is not None and str(path) == "-"


@contextlib.contextmanager
def read(path: Path | None) -> Iterator[Path | None]:
    """The path itself, or for `-` a file with the whole of standard input."""
    if not is_dash(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdin"
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        with _called(file, "standard input"):
            yield file


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """The path itself, or for `-` a file that is copied to standard output once it is complete."""
    if not is_dash(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdout"
        with _called(file, "standard output"):
            yield file
        with file.open("rb") as copy:
            shutil.copyfileobj(copy, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def refuse_twice(*paths: Path | None) -> None:
    """Standard input can be read only once.

    Raises:
        UsageError: `-` is given for two files.
    """
    if sum(map(is_dash, paths)) > 1:
        raise UsageError(
            "standard input cannot be two files",
            found="- and -",
            expected="- at most once among the inputs",
            advice="name the other file",
        )


@contextlib.contextmanager
def _called(file: Path, name: str) -> Iterator[None]:
    """Makes errors name the stream, not the temporary file."""
    try:
        yield
    except RlossError as error:
        error.where = error.where and error.where.replace(str(file), name)
        error.args = (str(error).replace(str(file), name),)
        raise
