"""Writing files so that a crash, a full disk or a second run never loses what was there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rlossctl.errors import RlossError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yields a binary file; on success it is fsynced and renamed to `path`, on failure it is removed.

    Raises:
        RlossError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        _remove(name)
        raise cannot_write(target, error) from error
    except BaseException:
        _remove(name)
        raise


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `atomic_write`, for writers that need a name: yields one, and renames what is there to `path`.

    Raises:
        RlossError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        folder = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        written = Path(folder) / target.name
        yield written
        os.replace(written, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Creates `path` with its parents; an error names the folder and the reason."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises what writing the file at the end of a long run would raise, as far as that can be seen now."""
    target = Path(path)
    reason = 0
    if target.is_dir():
        reason = errno.EISDIR
    elif not target.parent.is_dir():
        reason = errno.ENOENT
    elif not os.access(target.parent, os.W_OK):
        reason = errno.EACCES
    if reason:
        raise cannot_write(target, OSError(reason, os.strerror(reason)))


def cannot_write(path: Path, error: OSError) -> RlossError:
    """The error for a file or folder that cannot be written."""
    return RlossError(
        "cannot be written",
        where=path,
        found=error.strerror or str(error),
        expected="an existing folder with write permission and free space",
        advice="create the folder, change its permissions, or name another one",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
