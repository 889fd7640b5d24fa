"""Finds annotation files and label pictures in folders, archives and single files, and reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.labelling.programs import PROGRAMS, File, Program, program_of
from rlossctl.data.labelling.shapes import Drawing
from rlossctl.data.weak import formats
from rlossctl.data.weak.annotations import parse_xml
from rlossctl.errors import DataError
from rlossctl.files import read_regular

PICTURES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".jpg", ".jpeg")
_TEXTS = (".json", ".xml")
_LARGEST = 512 * 2**20  # bytes of one annotation file
# What content of an unexpected form raises while it is read.
_ODD = (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
_READ = ", ".join(program.name for program in PROGRAMS)


class Annotations(Sources):
    """Folders, archives and single files.

    Attributes:
        entries: all files, in order.
    """

    def _open(self, path: Path) -> list[Entry]:
        if not path.exists():
            raise DataError(
                "cannot be read",
                where=path,
                found="no such file or folder",
                expected=f"annotations ({', '.join(_TEXTS)}), a label picture, a folder or an archive",
                advice="check the name",
            )
        if path.is_file() and path.suffix.lower() in (*_TEXTS, *PICTURES):
            return [Entry(PurePosixPath(path.as_posix()), str(path), lambda: _content(path))]
        return sorted(super()._open(path), key=lambda entry: entry.path)

    def of_kind(self, suffixes: Sequence[str]) -> list[Entry]:
        """The files with one of these suffixes, without hidden ones."""
        return [
            entry
            for entry in self.entries
            if entry.path.suffix.lower() in suffixes and not entry.path.name.startswith(".")
        ]


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, _LARGEST)
    except OSError as error:
        raise DataError(
            "cannot be read",
            where=path,
            found=error.strerror or str(error),
            expected="a file",
            advice="check the name",
        ) from error


def texts(opened: Annotations) -> Iterator[tuple[Program, File]]:
    """The annotation files of known programs.

    Raises:
        DataError: a file is damaged, or of an unknown kind.
    """
    for entry in opened.of_kind(_TEXTS):
        if entry.path.name == "meta.json":  # of a Supervisely project
            continue
        file = File(entry.path, entry.where, _parsed(entry))
        program = program_of(file.content)
        if program is None:
            raise _unknown(file)
        yield program, file


def drawings(program: Program, file: File) -> Iterator[Drawing]:
    """The drawings of one file; raises DataError if its content is not of the program's form."""
    try:
        yield from program.read(file)
    except _ODD as error:
        raise DataError(
            f"this {program.name} file cannot be read",
            where=file.where,
            found=f"no {error}" if isinstance(error, KeyError) else str(error),
            expected=f"an annotation as {program.name} writes it",
            advice="export the annotation again",
        ) from error


def _parsed(entry: Entry) -> Any:
    try:
        content = entry.read()
        return parse_xml(content) if entry.path.suffix.lower() == ".xml" else json.loads(content)
    except (ValueError, LookupError, RecursionError, ElementTree.ParseError) as error:
        raise DataError(
            "this is not an annotation file",
            where=entry.where,
            found=re.sub(r"\s+", " ", str(error))[:120],
            expected=f"JSON or XML of {_READ}",
            advice="export the annotation again",
        ) from error


def _unknown(file: File) -> DataError:
    xml = isinstance(file.content, ElementTree.Element)
    kind = formats.xml_format(file.content) if xml else formats.name_of_keys(file.content)
    found = f"<{file.content.tag}>" if xml else _keys(file.content)
    return DataError(
        f"this is {kind or 'an annotation of an unknown kind'}, which is not read here",
        where=file.where,
        found=found,
        expected=f"a file of {_READ}",
        advice="export it in one of these forms; `rlossctl data scribbles` reads ScribbleSup's XML and "
        "`rlossctl data clicks` clicks in JSON",
    )


def _keys(content: Any) -> str:
    return f"the keys {', '.join(list(content)[:6])}" if isinstance(content, dict) else type(content).__name__
