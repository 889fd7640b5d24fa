"""Strokes of an image, and reading ScribbleSup's XML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from rlossctl.data.archives import Sources
from rlossctl.data.weak import formats
from rlossctl.errors import DataError
from rlossctl.files import read_regular

# ScribbleSup's short names of VOC classes.
SHORT_NAMES = {
    "plane": "aeroplane",
    "bike": "bicycle",
    "table": "diningtable",
    "plant": "pottedplant",
    "monitor": "tvmonitor",
}
LARGEST_ANNOTATION = 256 * 2**20  # bytes of one file; ScribbleSup's have a few thousand
_OTHERWISE = (
    "`rlossctl data labels` reads labelme, COCO, Supervisely, Cityscapes and CVAT; or export the annotations "
    "as ScribbleSup's XML"
)
FARTHEST = 1e9  # pixels from the corner; farther points are mistakes, and too far to draw lines to


@dataclass(frozen=True)
class Stroke:
    """A stroke, a click or a filled shape.

    Attributes:
        label: the class id; 255 takes the labels under the stroke away.
        points: [P, 2] as (y, x) in pixels of the photo; whole numbers are centres. A click has one point.
        width: of its brush in pixels of the photo, if the stroke says it.
        filled: whether the points are the outline of an area.
    """

    label: int
    points: np.ndarray
    width: int | None = None
    filled: bool = False


@dataclass(frozen=True)
class Annotation:
    """One image: its name, its strokes in order, its (height, width) if the file says it, and the file."""

    name: str
    strokes: list[Stroke]
    size: tuple[int, int] | None
    where: str


def read_scribbles(source: str | os.PathLike[str], class_names: Sequence[str]) -> Iterator[Annotation]:
    """Reads ScribbleSup's XML files from a folder, a zip archive or a single file, sorted by name.

    Each is `<annotation><size><width/><height/></size><polygon><tag>NAME</tag><point><X/><Y/></point>...`:
    open lines with a class name. ScribbleSup's short forms of VOC's names (plane, bike, table, plant,
    monitor) are understood.

    Args:
        class_names: the names in the order of their ids.

    Raises:
        DataError: there is no file, the XML is damaged, or a name is not a class.
    """
    ids = {name: index for index, name in enumerate(class_names)}
    ids |= {short: ids[name] for short, name in SHORT_NAMES.items() if name in ids}
    found = False
    for name, where, content in _xml_files(Path(source)):
        found = True
        yield _scribbles(name, where, content, ids)
    if not found:
        raise DataError(
            "no scribbles found",
            where=source,
            found="no file named *.xml",
            expected="a folder or a zip archive with one XML file per image",
            advice="unpack the archive and name the folder with the XML files",
        )


def _xml_files(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, place and content of every XML file. Names of archive members are never used as paths."""
    if not source.exists() or (source.is_file() and source.suffix.lower() in (".xml", ".json")):
        yield source.stem, str(source), _read_file(source)
        return
    with Sources([str(source)]) as opened:
        for entry in sorted(opened.entries, key=lambda entry: entry.path):
            if _is_annotation(entry.path):
                yield entry.path.stem, entry.where, entry.read()


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path, LARGEST_ANNOTATION)
    except OSError as error:
        raise DataError(
            "the scribbles cannot be read",
            where=path,
            found=error.strerror or str(error),
            expected="a folder of XML files, an archive of them, or one file",
            advice="check the name",
        ) from error


def _is_annotation(path: PurePosixPath) -> bool:
    return path.suffix == ".xml" and not path.name.startswith(".")


def _scribbles(name: str, where: str, content: bytes, ids: dict[str, int]) -> Annotation:
    try:
        root = parse_xml(content)
        size = None
        if root.find("size") is not None:
            size = int(root.findtext("size/height", "")), int(root.findtext("size/width", ""))
        strokes = [_polygon(polygon, ids, where) for polygon in root.iter("polygon")]
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        other = formats.json_format(content)
        raise DataError(
            f"this is {other}, which is not read" if other else "this is not a scribble annotation",
            where=where,
            found=formats.beginning(content) if other else str(error),
            expected="<annotation> with <size><width/><height/></size> and <polygon>s of <tag> and <point>s",
            advice=_OTHERWISE if other else "fetch the file again",
        ) from error
    if not strokes and (other := formats.xml_format(root)):
        raise DataError(
            f"this is {other}, which is not read",
            where=where,
            found=f"<{root.tag}> with {', '.join(f'<{tag}>' for tag in formats.tags(root))}",
            expected="<annotation> with <size><width/><height/></size> and <polygon>s of <tag> and <point>s",
            advice=_OTHERWISE,
        )
    return Annotation(name, strokes, size, where)


def parse_xml(content: bytes) -> ElementTree.Element:
    """The root element of an XML file without a document type, whose entities could blow it up to any size.

    Raises:
        ValueError: it has a document type.
        ParseError, LookupError: it is not XML, or has an unknown encoding.
    """
    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = _refuse_doctype
    try:
        checker.Parse(content, True)
    except expat.ExpatError as error:
        raise ElementTree.ParseError(str(error)) from error
    return ElementTree.fromstring(content)


def _refuse_doctype(name: str, *_: object) -> None:
    raise ValueError(f"a document type (<!DOCTYPE {name[:40]}>), which annotations do not have")


def _polygon(polygon: ElementTree.Element, ids: dict[str, int], where: str) -> Stroke:
    tag = polygon.findtext("tag", "").strip()
    if tag not in ids:
        raise DataError(
            "the scribble's class does not exist",
            where=where,
            found=f"<tag>{tag}</tag>",
            expected=", ".join(ids),
            advice="name the classes with --classes FILE",
        )
    points = [[float(point.findtext(axis, "")) for axis in "YX"] for point in polygon.iter("point")]
    if not points or not np.isfinite(points).all():
        raise ValueError(f"a polygon of class {tag} without points, or with points that are not numbers")
    found = np.array(points, dtype=np.float64)
    if np.abs(found).max() > FARTHEST:
        raise ValueError(f"a polygon of class {tag} with a point at {np.abs(found).max():g} pixels")
    return Stroke(ids[tag], found)
