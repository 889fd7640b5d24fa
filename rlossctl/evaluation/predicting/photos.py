"""Finds the photos that a user names: files, folders, patterns, lists, URLs, and standard input."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlossctl import remote
from rlossctl.data import urls
from rlossctl.data.images import Photo, decode_photo, read_photo
from rlossctl.data.lists import join_root
from rlossctl.errors import DataError, UsageError
from rlossctl.files import LARGEST_LISTING, read_listing

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
STDIN = "-"


@dataclass(frozen=True)
class Input:
    """A photo, and the name of its outputs.

    Attributes:
        path: the photo's file; of other sources only the file's name.
        name: a path below the output folder, without the outputs' suffix.
        url: where the photo comes from, if it is not a file.
        data: the photo's encoded bytes, if they are known already.
        is_file: whether `path` is a file of this machine.
    """

    path: Path
    name: str
    url: str | None = None
    data: bytes | None = None
    is_file: bool = True

    @property
    def where(self) -> str:
        """The photo's place, for messages."""
        return self.url or str(self.path)

    def read(self, upright: bool) -> Photo:
        """Reads the photo; raises DataError as `read_photo` and `urls.read` do."""
        if self.is_file:
            return read_photo(self.path, upright=upright)
        data = urls.read(self.url) if self.url else self.data or b""
        return decode_photo(data, self.where, upright=upright)


def find_inputs(arguments: Sequence[str], root: str = "", stdin: bytes = b"") -> list[Input]:
    """The photos named by the arguments, in order, each once.

    An argument is a photo; a folder, searched at any depth, whose outputs keep the same subfolders; a pattern
    with *, ? or [...] (** for any depth); a .txt list whose lines start with a name, or with a VOC id if
    `root` has JPEGImages; a URL (http, https); or `-` for standard input, which has names, one per line, or
    one photo. Photos of one folder whose names differ only in the suffix keep it in their outputs' names.

    Args:
        root: put before the names of lists and of standard input (see `join_root`).
        stdin: the content of standard input.

    Raises:
        DataError: an argument matches nothing.
        UsageError: the outputs of two photos would have the same name.
    """
    found: dict[str, Input] = {}
    for argument in arguments:
        before = len(found)
        seen = 0
        for entry in _expand(argument, root, stdin):
            seen += 1
            found.setdefault(entry.where, entry)
        if len(found) == before and not seen:
            raise DataError(
                "no photo found",
                where="standard input" if argument == STDIN else argument,
                found="nothing",
                expected=f"files that end in {', '.join(SUFFIXES)}",
                advice="check the name; quote patterns so that the shell does not expand them",
            )
    entries = _told_apart(list(found.values()))
    _check_names(entries)
    return entries


def check_outputs(inputs: Sequence[Input], outputs: Iterable[Path]) -> None:
    """Raises UsageError if an output would overwrite an input or another output."""
    mine = {os.path.realpath(entry.path) for entry in inputs if entry.is_file}
    seen: set[Path] = set()
    for path in outputs:
        if path in seen:
            raise UsageError(
                "two outputs would have this name",
                where=path,
                expected="photos whose names do not end in _overlay or in a class id",
                advice="write each kind in a separate run, to its own folder",
            )
        seen.add(path)
        if os.path.realpath(path) in mine:
            raise UsageError(
                "an output would overwrite its input",
                where=path,
                expected="an output folder without any of the photos",
                advice="choose another folder with --out",
            )


def _expand(argument: str, root: str, stdin: bytes) -> Iterator[Input]:
    path = Path(argument)
    if argument == STDIN and _is_picture(stdin):
        yield Input(Path("standard input"), "stdin", data=stdin, is_file=False)
    elif argument == STDIN:
        yield from _named(os.fsdecode(stdin).splitlines(), root)
    elif remote.is_remote(argument) and argument.lower().endswith(".txt"):
        yield from _named(_lines(argument), root)
    elif urls.is_url(argument):
        yield _at(argument)
    elif path.is_dir():
        photos = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        for file in sorted(photos):
            yield Input(file, file.relative_to(path).with_suffix("").as_posix())
    elif path.suffix.lower() == ".txt":
        yield from _named(_lines(argument), root)
    elif not path.exists() and glob.has_magic(argument):
        for name in sorted(glob.glob(argument, recursive=True)):
            if Path(name).suffix.lower() in SUFFIXES:
                yield Input(Path(name), Path(name).stem)
    else:
        yield Input(path, path.stem)


def _is_picture(data: bytes) -> bool:
    """Whether these are the bytes of a picture. Names have no NUL; PGM and PPM may lack it, too."""
    return b"\0" in data[:4096] or (data[:2] in (b"P5", b"P6") and data[2:3].isspace())


def _at(address: str) -> Input:
    """The photo at an address."""
    name = Path(urls.file_name(address))
    return Input(name, name.stem, url=address, is_file=False)


def _lines(path: str) -> list[str]:
    try:
        if remote.is_remote(path):
            return remote.read(path, LARGEST_LISTING).decode("utf-8", "surrogateescape").split("\n")
        return read_listing(path).split("\n")
    except OSError as error:
        raise DataError(
            "the list cannot be read",
            where=path,
            found=error.strerror or str(error),
            expected="a text file with one photo per line",
            advice="check the name",
        ) from error


def _named(lines: Iterable[str], root: str) -> Iterator[Input]:
    """Photos by name. A line may have a label after the photo, separated by a space."""
    ids = (Path(root) / "JPEGImages").is_dir()
    for line in lines:
        words = line.split()
        if not words:
            continue
        # A list separates names by spaces; a name on standard input may contain them.
        name = line.strip() if os.path.exists(join_root(root, line.strip())) else words[0]
        if ids and not os.path.splitext(name)[1]:
            stem = os.path.join(root, "JPEGImages", name)
            name = f"{stem}.png" if os.path.exists(f"{stem}.png") else f"{stem}.jpg"
        else:
            name = join_root(root, name)
        yield _at(name) if remote.is_remote(name) else Input(Path(name), Path(name).stem)


def _told_apart(found: Sequence[Input]) -> list[Input]:
    """Photos of one folder with one stem, as x.jpg and x.tif, with their suffixes in their names."""
    alike = Counter((entry.path.parent, entry.name) for entry in found)
    return [
        replace(entry, name=f"{entry.name}{entry.path.suffix}")
        if alike[entry.path.parent, entry.name] > 1
        else entry
        for entry in found
    ]


def _check_names(found: Iterable[Input]) -> None:
    names: dict[str, Input] = {}
    for entry in found:
        other = names.setdefault(entry.name, entry)
        if other is not entry:
            raise UsageError(
                "two photos would have the same output",
                where=entry.name,
                found=f"{other.where} and {entry.where}",
                expected="names that differ",
                advice="give their common folder, so that outputs keep their subfolders, or run twice",
            )
