"""Reading published clicks and scribbles: JSON by image id, and ScribbleSup's XML."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from rlossctl.data.archives import Sources
from rlossctl.data.classes import CITYSCAPES_IDS
from rlossctl.data.weak import formats
from rlossctl.data.weak.scribble import UNLABELLED
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
    """A class id and the stroke's points [P, 2] as (y, x) in pixels of the photo; a click has one point."""

    label: int
    points: np.ndarray


@dataclass(frozen=True)
class Annotation:
    """One image: its name, its strokes in order, its (height, width) if the file says it, and the file."""

    name: str
    strokes: list[Stroke]
    size: tuple[int, int] | None
    where: str


def read_clicks(
    paths: Sequence[str | os.PathLike[str]], num_classes: int | None = None, cityscapes: bool = False
) -> list[Annotation]:
    """Reads `{"ID": [{"x": column, "y": row, "cls": id}, ...], ...}` from one or more files.

    An image in several files gets the clicks of all files, in the order of the files. An empty list is an
    image without clicks. Other keys of a click (`rank`) are ignored.

    Args:
        num_classes: the classes are 0..num_classes-1; without it, any id up to 254 is accepted.
        cityscapes: whether the ids are Cityscapes' own. They become training ids, and clicks of classes that
            are not evaluated are dropped.

    Raises:
        DataError: a file is not JSON of this form; names the file, the image and the click.
    """
    merged: dict[str, Annotation] = {}
    for path in paths:
        for name, clicks in _read_json(path).items():
            where = f"{path}, image {name!r}"
            if not isinstance(clicks, list):
                raise _no_click(where, clicks)
            strokes = []
            for index, click in enumerate(clicks):
                stroke = _click(click, f"{where}, click {index}", num_classes, cityscapes)
                if stroke is not None:
                    strokes.append(stroke)
            before = merged[name].strokes if name in merged else []
            merged[name] = Annotation(name, before + strokes, None, where)
    return [merged[name] for name in sorted(merged)]


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


def _read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, LARGEST_ANNOTATION))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            "the clicks cannot be read",
            where=path,
            found=getattr(error, "strerror", None) or str(error),
            expected='JSON: {"2007_000032": [{"x": 81.5, "y": 120, "cls": 1}, ...], ...}',
            advice="check the file's name, or fetch the file again",
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            "this JSON file does not hold clicks",
            where=path,
            found=f"a {type(content).__name__} at the top",
            expected="an object of image ids",
            advice="name a file in the format of What's the Point",
        )
    other = formats.name_of_keys(content)
    if other:
        raise DataError(
            f"this is {other}, which is not read",
            where=path,
            found=f"the keys {', '.join(list(content)[:6])}",
            expected='{"2007_000032": [{"x": 81.5, "y": 120, "cls": 1}, ...], ...}',
            advice="`rlossctl data labels` reads labelme, COCO, Supervisely, Cityscapes and CVAT; or export "
            "the clicks in the form of What's the Point's",
        )
    return content


def _click(click: Any, where: str, num_classes: int | None, cityscapes: bool) -> Stroke | None:
    keys = ("x", "y", "cls")
    numbers: list[Any] = [click.get(key) for key in keys] if isinstance(click, dict) else [None]
    good = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    if not good or not all(map(math.isfinite, numbers)) or numbers[2] != int(numbers[2]):
        raise _no_click(where, click)
    x, y, label = numbers
    if cityscapes:
        if label not in CITYSCAPES_IDS:
            return None
        label = CITYSCAPES_IDS.index(label)
    if not 0 <= label < (num_classes or UNLABELLED):
        raise DataError(
            "the click's class does not exist",
            where=where,
            found=f"class {label:g}",
            expected=f"0..{(num_classes or UNLABELLED) - 1}",
            advice="check --classes; for Cityscapes' own ids add --cityscapes",
        )
    return Stroke(int(label), np.array([[y, x]], dtype=np.float64))


def _no_click(where: str, found: Any) -> DataError:
    text = repr(found)
    return DataError(
        "this is not a click",
        where=where,
        found=text if len(text) < 80 else f"{text[:80]}...",
        expected='a list of {"x": number, "y": number, "cls": integer}',
        advice="correct the entry, or fetch the file again",
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
