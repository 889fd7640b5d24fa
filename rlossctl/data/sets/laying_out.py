"""Tools to lay out a data set: find files by folder, copy without overwriting, write lists, change ids."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlossctl.data.archives import Entry
from rlossctl.errors import DataError
from rlossctl.files import atomic_write, make_folder
from rlossctl.progress import track

PHOTOS, MASKS = "JPEGImages", "SegmentationClass"
PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Prepared:
    """What was laid out: the number of files of each kind, the number of lines in each list, and remarks."""

    files: dict[str, int]
    lists: dict[str, int]
    notes: list[str]


def by_stem(entries: Iterable[Entry], folder: str, suffixes: Sequence[str] = PICTURES) -> dict[str, Entry]:
    """The files in `folder` with these suffixes, by name without suffix; the first file of a name counts."""
    wanted = Path(folder).parts
    found: dict[str, Entry] = {}
    for entry in entries:
        path = entry.path
        if path.parent.parts[-len(wanted) :] != wanted or path.name.startswith("."):
            continue
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, entry)
    return found


def copy(
    entries: Mapping[str, Entry],
    folder: Path,
    convert: Callable[[bytes, str], bytes] = lambda content, _: content,
) -> int:
    """Writes the files to a folder and returns their number. `convert` gets each file's content and place.

    Raises:
        DataError: a file with the same name has other content.
    """
    make_folder(folder)
    for entry in track(entries.values(), len(entries), folder.name):
        _write(folder / entry.path.name, convert(entry.read(), entry.where))
    return len(entries)


def _write(target: Path, content: bytes) -> None:
    """Writes a file unless it exists; a file with other content is never touched."""
    if not target.exists():
        with atomic_write(target) as file:
            file.write(content)
    elif target.read_bytes() != content:
        raise DataError(
            "a file with this name already exists and has other content",
            where=target,
            found=f"a file of {target.stat().st_size:,} bytes; {len(content):,} bytes to write",
            expected="the same content, or no such file",
            advice="name another folder with --out, or move the file away",
        )


def write_list(target: Path, lines: Sequence[str]) -> int:
    """Writes a list, as `copy` does; returns the number of lines."""
    make_folder(target.parent)
    _write(target, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return len(lines)


def missing(what: str, sources: Sequence[str], expected: str) -> DataError:
    """The error for something that none of the sources holds; `what` ends in "is" or "are"."""
    return DataError(
        f"{what} missing",
        where=", ".join(sources),
        found="no such file",
        expected=expected,
        advice="name the archive or folder that holds them",
    )


def renumbered(ids: Mapping[int, int], expected: str, advice: str) -> Callable[[bytes, str], bytes]:
    """Makes a function for `copy` that changes the ids of a label file.

    Args:
        ids: maps each id of the file to the id to write; a file with another id is an error.
        expected, advice: for that error.
    """

    def convert(content: bytes, where: str) -> bytes:
        import numpy as np
        from PIL import Image

        from rlossctl.data.images import decode_label

        label = decode_label(content, where)
        unknown = [int(found) for found in np.unique(label) if int(found) not in ids]
        if unknown:
            raise DataError(
                "label ids out of range",
                where=where,
                found=f"id {unknown[-1]}",
                expected=expected,
                advice=advice,
            )
        table = np.zeros(256, np.uint8)
        table[list(ids)] = list(ids.values())
        buffer = io.BytesIO()
        Image.fromarray(table[label]).save(buffer, format="PNG")
        return buffer.getvalue()

    return convert
