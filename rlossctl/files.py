"""Writes files so that a crash, a full disk or a second run never loses the old file; reads with a limit."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypedDict

from rlossctl.errors import RlossError

LARGEST_LISTING = 2**30  # bytes; ImageNet's list has 50 MB
_PIECE = 2**20  # bytes to read at a time if the size is unknown
_ABOUT_WRITING = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[BinaryIO]:
    """Yields a binary file. On success it is fsynced and renamed to `path`; on failure it is removed.

    Args:
        sync: whether to fsync. It takes most of the time where many small files are written.

    Raises:
        RlossError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        remove_leftovers(target.parent)
        descriptor, name = tempfile.mkstemp(**_part_of(target))
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
        os.chmod(name, 0o666 & ~_umask())
        if sync:
            give_name(Path(name), target)
        else:
            os.replace(name, target)
    except OSError as error:
        _remove(name)
        raise cannot_write(target, error) from error
    except BaseException:
        _remove(name)
        raise


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Like `atomic_write`, for writers that need a name: yields a name, and renames the file to `path`.

    Raises:
        RlossError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        remove_leftovers(target.parent)
        folder = tempfile.mkdtemp(**_part_of(target))
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        written = Path(folder) / target.name
        yield written
        give_name(written, target)
    except OSError as error:
        if error.errno not in _ABOUT_WRITING:  # the writer may also read other files
            raise
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give_name(written: Path, target: Path) -> None:
    """Renames a finished file. The file and its new name are on disk before this returns."""
    _fsync(written)
    os.replace(written, target)
    # A folder that cannot be opened or synced (on some network file systems) stores the name later.
    with contextlib.suppress(OSError):
        _fsync(target.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _part_of(target: Path) -> _Part:
    """The name of the unfinished file: after its target and the process that writes it."""
    owner = f"{_host()}-{os.getpid()}"
    return {"prefix": f".{target.name[:100]}.{owner}.", "suffix": ".part", "dir": target.parent}


class _Part(TypedDict):
    prefix: str
    suffix: str
    dir: Path


@cache
def remove_leftovers(folder: Path) -> None:
    """Removes unfinished files of this machine's dead processes from a folder; runs once per process."""
    pattern = re.compile(rf"\..+\.{re.escape(_host())}-(\d+)\.\w+\.part")
    for name in os.listdir(folder):
        match = pattern.fullmatch(name)
        if match and not _is_alive(int(match[1])):
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove(str(path))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "", platform.node())[:32] or "localhost"


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuses endless files: reading a device would fill the memory, and reading a pipe would never end.

    Raises:
        OSError: it is missing, a folder, a device, a pipe or a socket.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
        kind = next((name for test, name in kinds if test(mode)), "a device")
        raise OSError(errno.EINVAL, f"{kind}, which is not a regular file", str(path))


def read_regular(path: str | os.PathLike[str], largest: int) -> bytes:
    """The content of a regular file.

    Args:
        largest: the most bytes that it may have.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    require_regular(path)
    size = os.path.getsize(path)
    if size > largest:
        raise OSError(errno.EFBIG, f"{size:,} bytes, more than {largest:,}", str(path))
    return Path(path).read_bytes()


def read_beginning(path: str | os.PathLike[str], most: int) -> bytes:
    """The first `most` bytes of a file, pipe or device, or all if it has fewer.

    Raises:
        OSError: it cannot be read.
    """
    content = bytearray()
    with open(path, "rb") as file:
        while len(content) < most and (piece := file.read(min(_PIECE, most - len(content)))):
            content += piece
    return bytes(content)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a regular file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    require_regular(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def read_listing(path: str | os.PathLike[str]) -> str:
    """The text of a regular file that lists names, in any encoding: bytes that are not UTF-8 are escaped.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger than LARGEST_LISTING.
    """
    return read_regular(path, LARGEST_LISTING).decode("utf-8", "surrogateescape")


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Creates `path` and its parents; an error names the folder and the reason."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises the error now that writing the file would raise after a long run, if it can be foreseen."""
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
        advice="create the folder, change its permissions, or choose another one",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
