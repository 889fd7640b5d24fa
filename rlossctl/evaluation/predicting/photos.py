"""Finds the photos that a user names: files, folders, patterns, lists, names on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlossctl.data.lists import join_root
from rlossctl.errors import DataError, UsageError
from rlossctl.files import read_listing

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
STDIN = "-"


@dataclass(frozen=True)
class Input:
    """A photo, and the name of its outputs: a path below the output folder, without suffix."""

    path: Path
    name: str


def find_inputs(arguments: Sequence[str], root: str = "", stdin: Iterable[str] = ()) -> list[Input]:
    """The photos named by the arguments, in order, each once.

    An argument is a photo; a folder, searched at any depth, whose outputs keep the same subfolders; a pattern
    with *, ? or [...] (** for any depth); a .txt list whose lines start with a name, or with a VOC id if
    `root` has JPEGImages; or `-` for names on standard input, one per line.

    Args:
        root: put before the names of lists and of standard input (see `join_root`).
        stdin: the lines of standard input.

    Raises:
        DataError: an argument matches nothing.
        UsageError: the outputs of two photos would have the same name.
    """
    found: dict[Path, Input] = {}
    for argument in arguments:
        before = len(found)
        seen = 0
        for entry in _expand(argument, root, stdin):
            seen += 1
            found.setdefault(entry.path, entry)
        if len(found) == before and not seen:
            raise DataError(
                "no photo found",
                where="standard input" if argument == STDIN else argument,
                found="nothing",
                expected=f"files that end in {', '.join(SUFFIXES)}",
                advice="check the name; quote patterns so that the shell does not expand them",
            )
    _check_names(found.values())
    return list(found.values())


def check_outputs(inputs: Sequence[Input], outputs: Iterable[Path]) -> None:
    """Raises UsageError if an output would overwrite an input or another output."""
    mine = {os.path.realpath(entry.path) for entry in inputs}
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


def _expand(argument: str, root: str, stdin: Iterable[str]) -> Iterator[Input]:
    path = Path(argument)
    if argument == STDIN:
        yield from _named(stdin, root)
    elif path.is_dir():
        photos = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        for file in sorted(photos):
            yield Input(file, file.relative_to(path).with_suffix("").as_posix())
    elif path.suffix.lower() == ".txt":
        yield from _named(_lines(path), root)
    elif not path.exists() and glob.has_magic(argument):
        for name in sorted(glob.glob(argument, recursive=True)):
            if Path(name).suffix.lower() in SUFFIXES:
                yield Input(Path(name), Path(name).stem)
    else:
        yield Input(path, path.stem)


def _lines(path: Path) -> list[str]:
    try:
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
        yield Input(Path(name), Path(name).stem)


def _check_names(found: Iterable[Input]) -> None:
    names: dict[str, Input] = {}
    for entry in found:
        other = names.setdefault(entry.name, entry)
        if other is not entry:
            raise UsageError(
                "two photos would have the same output",
                where=entry.name,
                found=f"{other.path} and {entry.path}",
                expected="names that differ even without their suffixes",
                advice="give their common folder, so that outputs keep their subfolders, or run twice",
            )
