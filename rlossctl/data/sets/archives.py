"""Files out of folders, tar and zip archives alike, by the folder that they lie in."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rlossctl.errors import DataError

_LARGEST = 256 * 2**20  # bytes of one photo, label or list


@dataclass(frozen=True)
class Entry:
    """A file of a source: its path there, and what reads it."""

    path: PurePosixPath
    where: str
    read: Callable[[], bytes]


class Sources:
    """Opens folders and archives; use it as a context, so that archives are closed.

    Links and device files of archives are passed over, and no path of an archive is ever used as one.

    Args:
        paths: folders, .tar (compressed or not) or .zip files.

    Raises:
        DataError: a path that is neither.
    """

    def __init__(self, paths: list[str]) -> None:
        self._archives: list[tarfile.TarFile | zipfile.ZipFile] = []
        self.entries: list[Entry] = []
        try:
            for path in paths:
                self.entries += list(self._open(Path(path)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the archives; entries cannot be read any more."""
        for archive in self._archives:
            archive.close()

    def _open(self, path: Path) -> Iterator[Entry]:
        if path.is_dir():
            return _folder(path)
        try:
            if zipfile.is_zipfile(path):
                archive = zipfile.ZipFile(path)
                self._archives.append(archive)
                return _zip(path, archive)
            archive = tarfile.open(path)  # closed by close()  # noqa: SIM115
            self._archives.append(archive)
            return _tar(path, archive)
        except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
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
            yield Entry(PurePosixPath(path.as_posix()), str(path), path.read_bytes)


def _zip(path: Path, archive: zipfile.ZipFile) -> Iterator[Entry]:
    for member in archive.infolist():
        if not member.is_dir() and "__MACOSX" not in member.filename:
            where = f"{path}, {member.filename}"

            def read(member: zipfile.ZipInfo = member, where: str = where) -> bytes:
                try:
                    _check_size(member.file_size, where)
                    return archive.read(member)
                except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
                    raise _unreadable(where, error) from error

            yield Entry(PurePosixPath(member.filename), where, read)


def _tar(path: Path, archive: tarfile.TarFile) -> Iterator[Entry]:
    for member in archive.getmembers():
        if member.isfile():
            where = f"{path}, {member.name}"

            def read(member: tarfile.TarInfo = member, where: str = where) -> bytes:
                try:
                    _check_size(member.size, where)
                    content = archive.extractfile(member).read()
                except (tarfile.TarError, OSError, EOFError) as error:
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
        found=getattr(error, "strerror", None) or str(error).partition(":\n")[0] or type(error).__name__,
        expected="a folder, or a whole .tar, .tar.gz, .tgz or .zip archive",
        advice="check the name, or fetch the archive again",
    )
