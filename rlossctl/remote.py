"""Files on object stores and other places that fsspec reaches: s3://bucket/name, gs://bucket/name, ..."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from typing import Any

from rlossctl.errors import RlossError
from rlossctl.files import atomic_write

LARGEST = 2**30  # bytes of a file
_ADDRESS = re.compile(r"(?!https?://)[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


def is_remote(name: str | os.PathLike[str]) -> bool:
    """Whether a name is an address for fsspec; the addresses of web servers are not (`data.urls`)."""
    return _ADDRESS.match(str(name)) is not None


def joined(folder: str, name: str) -> str:
    """The address of a file in a folder; a name that is an address stays as it is."""
    return name if is_remote(name) else f"{folder.rstrip('/')}/{name.lstrip('/')}"


def read(address: str, largest: int = LARGEST) -> bytes:
    """The content of a file.

    Args:
        largest: the most bytes that it may have.

    Raises:
        OSError: it cannot be read, or is larger.
        RlossError: the package for this kind of address is not installed.
    """
    with _reached(address) as (system, path), system.open(path, "rb") as file:
        content: bytes = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"more than {largest:,} bytes", address)
    return content


def write(address: str, content: bytes) -> None:
    """Writes a file, which appears complete or not at all: object stores put a file in one step.

    Raises:
        OSError: it cannot be written.
        RlossError: as for `read`.
    """
    with _reached(address) as (system, path):
        if "file" in _protocols(system):
            system.makedirs(os.path.dirname(path), exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)
            return
        system.pipe_file(path, content)


def names(folder: str) -> list[str]:
    """The names of the files in a folder, sorted; none if it does not exist.

    Raises:
        OSError: it cannot be listed.
        RlossError: as for `read`.
    """
    with _reached(folder) as (system, path):
        try:
            system.invalidate_cache()  # others write here, too
            found = system.ls(path, detail=False)
        except FileNotFoundError:
            return []
    return sorted(entry.rstrip("/").rpartition("/")[2] for entry in found)


@contextlib.contextmanager
def _reached(address: str) -> Iterator[tuple[Any, str]]:
    """The file system behind an address, and the path there; whatever fails inside is an OSError."""
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(address)
        yield system, path
    except ImportError as error:
        scheme = address.partition(":")[0].lower()
        extra = _EXTRAS.get(scheme)
        raise RlossError(
            "this kind of address needs another package",
            where=address,
            found=str(error),
            expected=f"the extra {extra}" if extra else f"fsspec's package for {scheme}",
            advice=f"pip install rlossctl[{extra}]" if extra else "install the package that is named",
        ) from error
    except (OSError, RlossError):
        raise
    except Exception as error:  # each service raises its own types
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", address) from error


def _protocols(system: Any) -> tuple[str, ...]:
    protocol = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
