"""Reading files from folders, tar archives and zip archives alike."""

from __future__ import annotations

import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rlossctl.errors import DataError
from rlossctl.files import read_regular, require_regular

if TYPE_CHECKING:
    from typing_extensions import Self

_LARGEST = 256 * 2**20  # bytes of one photo, label or list
# What the readers raise on archives that are missing, cut off, damaged, encrypted or packed in unknown ways.
_BROKEN = (
    OSError,
    EOFError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,  # encrypted; also NotImplementedError
    ValueError,
    OverflowError,
    IndexError,
)


@dataclass(frozen=True)
class Entry:
    """A file of a source: its path there, its place for errors, and a function that reads it."""

    path: PurePosixPath
    where: str
    read: Callable[[], bytes]


class Sources:
    """Opens folders and archives. Use it as a context manager, so that archives are closed.

    Links and device files in archives are skipped, and paths in archives are never used as file paths.

    Args:
        paths: folders, .tar files (compressed or not) or .zip files.

    Raises:
        DataError: a path is none of these.
    """

    def __init__(self, paths: list[str]) -> None:
        self._archives: list[tarfile.TarFile | zipfile.ZipFile] = []
        self.paths = paths
        self.entries: list[Entry] = []
        self._read: set[str] = set()
        try:
            for path in paths:
                self.entries += [self._noted(entry, path) for entry in self._open(Path(path))]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the archives; their entries can no longer be read."""
        for archive in self._archives:
            archive.close()

    def unread(self) -> list[str]:
        """The paths of which no file has been read so far."""
        return [path for path in self.paths if path not in self._read]

    def _noted(self, entry: Entry, path: str) -> Entry:
        def read() -> bytes:
            self._read.add(path)
            return entry.read()

        return replace(entry, read=read)

    def _open(self, path: Path) -> list[Entry]:
        if path.is_dir():
            return list(_folder(path))
        try:
            require_regular(path)
            if zipfile.is_zipfile(path):
                archive = zipfile.ZipFile(path)
                self._archives.append(archive)
                return list(_zip(path, archive))
            tar = tarfile.open(path)  # closed by close()  # noqa: SIM115
            self._archives.append(tar)
            return list(_tar(path, tar))
        except _BROKEN as error:
            raise _unreadable(path, error) from error


def _folder(folder: Path) -> Iterator[Entry]:
    seen: set[str] = set()  # links may lead in a circle
    for root, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            yield Entry(PurePosixPath(path.as_posix()), str(path), _file_reader(path))


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return read_regular(path, _LARGEST)
        except OSError as error:
            raise _unreadable(path, error) from error

    return read


def _zip(path: Path, archive: zipfile.ZipFile) -> Iterator[Entry]:
    for member in archive.infolist():
        if not member.is_dir() and "__MACOSX" not in member.filename:
            where = f"{path}, {member.filename}"

            def read(member: zipfile.ZipInfo = member, where: str = where) -> bytes:
                try:
                    _check_size(member.file_size, where)
                    return archive.read(member)
                except _BROKEN as error:
                    raise _unreadable(where, error) from error

            yield Entry(PurePosixPath(member.filename), where, read)


def _tar(path: Path, archive: tarfile.TarFile) -> Iterator[Entry]:
    for member in archive.getmembers():
        if member.isfile():
            where = f"{path}, {member.name}"

            def read(member: tarfile.TarInfo = member, where: str = where) -> bytes:
                try:
                    _check_size(member.size, where)
                    content = (archive.extractfile(member) or io.BytesIO()).read()
                except _BROKEN as error:
                    raise _unreadable(where, error) from error
                if len(content) != member.size:
                    raise _unreadable(where, EOFError("the archive ends within this file"))
                return content

            yield Entry(PurePosixPath(member.name), where, read)


def _check_size(size: int, where: str) -> None:
    if size > _LARGEST:
        raise DataError(
            "the file is too large for a photo or a label",
            where=where,
            found=f"{size:,} bytes",
            expected=f"at most {_LARGEST:,}",
            advice="fetch the archive again",
        )


def _unreadable(where: object, error: Exception) -> DataError:
    return DataError(
        "cannot be read",
        where=where,
        found=_reason(error),
        expected="a folder, or a whole .tar, .tar.gz, .tgz or .zip archive",
        advice="check the name, or fetch the archive again",
    )


def _reason(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error).partition(":\n")[0]
    if isinstance(error, EOFError):
        return f"the archive ends too early ({words})" if words else "the archive ends too early"
    if isinstance(error, (zlib.error, lzma.LZMAError, struct.error, IndexError)):
        return f"damaged content ({words})"
    return words or type(error).__name__
