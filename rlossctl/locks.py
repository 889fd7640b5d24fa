"""A folder belongs to one process at a time."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from rlossctl.errors import RlossError
from rlossctl.files import cannot_write


@contextlib.contextmanager
def locked(path: Path, user: str) -> Iterator[None]:
    """Keeps other processes out of a folder while the block runs; the file `path` in it says whose it is.

    The lock ends with the process, however that ends. Where the file system or the platform has no locks,
    there is none.

    Args:
        user: what the processes are, such as "training".

    Raises:
        RlossError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(path, user, os.pread(file, 1000, 0).decode(errors="replace")) from error
        except OSError:  # some network file systems
            os.close(file)
            yield
            return
        if _is_at(file, path):
            break
        os.close(file)  # the process before has just ended and removed it
    try:
        holder = {"process": os.getpid(), "host": platform.node()}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(holder).encode(), 0)
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(file)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _busy(path: Path, user: str, text: str) -> RlossError:
    try:
        entries = json.loads(text)
        holder = f"process {entries['process']} on {entries['host']} has it"
    except (ValueError, KeyError, TypeError):
        holder = "another process has it"
    return RlossError(
        f"is in use by another {user}",
        where=path.parent,
        found=f"{holder} ({path.name})",
        expected=f"one {user} in a folder at a time",
        advice="wait until it has ended, or name another folder with --out",
    )
