"""Whether a file is the one it should be: checksums, from wherever they are known."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rlossctl.data.sets.registry import Download
from rlossctl.errors import DataError
from rlossctl.files import read_listing

ACCEPTED = "accepted.sha256"
_PIECE = 2**20
_PAGES = (b"<!doctype", b"<html", b"<?xml")


class Checksum(NamedTuple):
    """The kind of a checksum (hashlib's name), and its hexadecimal digits or the first of them."""

    kind: str
    digits: str


class Verdict(NamedTuple):
    """Whether the file is right (None: nobody knows), its SHA-256, and words about it."""

    right: bool | None
    sha256: str
    words: str


def read_sums(path: str | Path) -> dict[str, str]:
    """File name -> SHA-256, from a file as `sha256sum` writes it.

    Raises:
        DataError: it cannot be read, or a line has another form.
    """
    sums = {}
    try:
        lines = read_listing(path).splitlines()
    except OSError as error:
        raise DataError("the checksums cannot be read", where=path, found=error.strerror or error) from error
    for number, line in enumerate(lines, start=1):
        digits, _, name = line.strip().partition(" ")
        if not line.strip():
            continue
        if len(digits) != 64 or set(digits.lower()) - set("0123456789abcdef") or not name.strip():
            raise DataError(
                "this is not a line of checksums",
                where=f"{path}:{number}",
                found=line.strip()[:60],
                expected="64 hexadecimal digits (SHA-256) and a file name, as sha256sum writes them",
            )
        sums[name.strip().removeprefix("*")] = digits.lower()
    return sums


def accepted_sums(folder: Path) -> dict[str, str]:
    """The checksums of the files that the user has accepted in a folder."""
    return read_sums(folder / ACCEPTED) if (folder / ACCEPTED).is_file() else {}


def accept(folder: Path, name: str, sha256: str) -> None:
    """Notes that the user has accepted a file."""
    with open(folder / ACCEPTED, "a", encoding="utf-8") as file:
        file.write(f"{sha256}  {name}\n")


def expected(download: Download, sums: Mapping[str, str], accepted: Mapping[str, str]) -> Checksum | None:
    """The checksum of a file: the user's, the published one, or that of a file accepted earlier."""
    if download.file in sums:
        return Checksum("sha256", sums[download.file])
    if download.sha256:
        return Checksum("sha256", download.sha256)
    if download.md5:
        return Checksum("md5", download.md5)
    return Checksum("sha256", accepted[download.file]) if download.file in accepted else None


def judge(path: Path, name: str, wanted: Checksum | None) -> Verdict:
    """Compares a file with its checksum; without one, an archive must at least be whole."""
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            for digest in digests.values():
                digest.update(piece)
    sha256 = digests["sha256"].hexdigest()
    if wanted is None:
        fault = _fault(path, name)
        return Verdict(False if fault else None, sha256, fault or f"SHA-256 {sha256}, no checksum is known")
    title = {"sha256": "SHA-256", "md5": "MD5"}[wanted.kind]
    found = digests[wanted.kind].hexdigest()
    if found.startswith(wanted.digits):
        part = "" if len(found) == len(wanted.digits) else f" in the {len(wanted.digits)} known digits"
        return Verdict(True, sha256, f"{title} {found}, as expected{part}")
    return Verdict(False, sha256, f"{title} {found}, expected {wanted.digits}")


def _fault(path: Path, name: str) -> str:
    """What shows that this is not the file; servers answer with pages that say "not found", too."""
    with open(path, "rb") as file:
        if file.read(64).lstrip().lower().startswith(_PAGES):
            return "this is a page of text, not the file"
    if name.endswith(".zip") and not _whole_zip(path):
        return "this is not a whole zip archive"
    if name.endswith((".tar", ".tgz", ".tar.gz")) and not tarfile.is_tarfile(path):
        return "this is not a tar archive"
    return ""


def _whole_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError):
        return False
