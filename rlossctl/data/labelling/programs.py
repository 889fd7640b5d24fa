"""The annotation files of labelme, COCO, Supervisely, Cityscapes (JSON) and CVAT (XML)."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from rlossctl.data.images import check_picture_size, decode_image
from rlossctl.data.labelling import rle
from rlossctl.data.labelling.shapes import Area, Bitmap, Drawing, Line, Shape, box, ellipse, points_of

_LARGEST_BITMAP = 64 * 2**20  # bytes of a bitmap's PNG


@dataclass(frozen=True)
class File:
    """A parsed annotation file: its path, its place for errors, and its content."""

    path: PurePosixPath
    where: str
    content: Any


@dataclass(frozen=True)
class Program:
    """A kind of annotation files.

    Attributes:
        name: what it is called.
        fits: whether a content is of this kind.
        read: gives the drawings of a file.
        classes: gives the names of the classes that the file declares, in their order.
    """

    name: str
    fits: Callable[[Any], bool]
    read: Callable[[File], Iterator[Drawing]]
    classes: Callable[[Any], list[str]] = lambda content: []


def program_of(content: Any) -> Program | None:
    """The program that writes such a content, or None."""
    return next((program for program in PROGRAMS if program.fits(content)), None)


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, dict) and content.keys() >= set(keys)


def _size(height: Any, width: Any, where: str) -> tuple[int, int]:
    size = int(height), int(width)
    if min(size) < 1:
        raise ValueError(f"a size of {size[1]}x{size[0]}")
    check_picture_size(*size, where)
    return size


# labelme


def _labelme(file: File) -> Iterator[Drawing]:
    content = file.content
    size = _size(content["imageHeight"], content["imageWidth"], file.where)
    shapes = [_labelme_shape(entry, file.where) for entry in content["shapes"]]
    yield Drawing(file.path.stem, size, shapes, file.where)


def _labelme_shape(entry: dict[str, Any], where: str) -> Shape:
    label, kind = str(entry["label"]), entry.get("shape_type") or "polygon"
    points = points_of(entry["points"])
    if kind == "mask":
        mask = _png_mask(base64.b64decode(entry["mask"], validate=True), where)
        return Bitmap(label, mask, (round(points[0, 0]), round(points[0, 1])))
    if kind == "polygon":
        return Area(label, (points,))
    if kind == "rectangle" and len(points) == 2:
        return Area(label, (box(*points[0], *points[1]),))
    if kind == "rectangle" and len(points) == 4:
        return Area(label, (points,))
    if kind == "circle":
        (x, y), (right, down) = points[:2].tolist()
        radius = float(np.hypot(right - x, down - y))
        return Area(label, (ellipse(x, y, radius, radius),))
    if kind in ("line", "linestrip", "point", "points"):
        return Line(label, points)
    raise ValueError(f"a shape of type {kind!r}")


def _png_mask(data: bytes, where: str) -> np.ndarray:
    """The mask in a PNG: its alpha if it has one, else its first channel; not 0 is inside."""
    pixels = decode_image(data, where)
    return pixels[:, :, -1 if pixels.shape[2] in (2, 4) else 0] > 0


# COCO


def _coco(file: File) -> Iterator[Drawing]:
    content = file.content
    names = {entry["id"]: str(entry["name"]) for entry in content.get("categories", ())}
    images = {entry["id"]: entry for entry in content["images"]}
    grouped: dict[Any, list[dict[str, Any]]] = {number: [] for number in images}
    for entry in content["annotations"]:
        if entry["image_id"] not in grouped:
            raise ValueError(f"an annotation of image {entry['image_id']!r}, which is not in images")
        grouped[entry["image_id"]].append(entry)
    for number, image in images.items():
        size = _size(image["height"], image["width"], file.where)
        shapes = [shape for entry in grouped[number] for shape in _coco_shape(entry, names, size)]
        yield Drawing(PurePosixPath(str(image["file_name"])).stem, size, shapes, file.where)


def _coco_shape(entry: dict[str, Any], names: dict[Any, str], size: tuple[int, int]) -> Iterator[Shape]:
    label = names.get(entry["category_id"], entry["category_id"])
    region = entry.get("segmentation")
    if isinstance(region, dict):
        if tuple(region["size"]) != size:
            raise ValueError(
                f"run lengths for {region['size']}, but the image is {list(size)} (height, width)"
            )
        yield Bitmap(label, rle.decode(region["counts"], *size))
    elif region:
        for outline in region:  # parts of one object, each drawn: they may overlap
            yield Area(label, (points_of(outline),))


# Supervisely


def _supervisely(file: File) -> Iterator[Drawing]:
    size = _size(file.content["size"]["height"], file.content["size"]["width"], file.where)
    shapes = [_supervisely_shape(entry, file.where) for entry in file.content["objects"]]
    name = file.path.stem  # NAME.jpg.json
    yield Drawing(PurePosixPath(name).stem, size, shapes, file.where)


def _supervisely_shape(entry: dict[str, Any], where: str) -> Shape:
    label, kind = str(entry["classTitle"]), entry.get("geometryType", "polygon")
    if kind == "bitmap":
        packed = base64.b64decode(entry["bitmap"]["data"], validate=True)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, _LARGEST_BITMAP)
        if unpacker.unconsumed_tail:
            raise ValueError(f"a bitmap of more than {_LARGEST_BITMAP:,} bytes")
        left, top = entry["bitmap"]["origin"]
        return Bitmap(label, _png_mask(data, where), (int(left), int(top)))
    outer = points_of(entry["points"]["exterior"])
    if kind == "polygon":
        return Area(label, (outer, *map(points_of, entry["points"].get("interior", ()))))
    if kind == "rectangle":
        return Area(label, (box(*outer[0], *outer[1]),))
    if kind in ("line", "point"):
        return Line(label, outer)
    raise ValueError(f"an object of geometry {kind!r}")


# Cityscapes' polygons


def _cityscapes(file: File) -> Iterator[Drawing]:
    content = file.content
    size = _size(content["imgHeight"], content["imgWidth"], file.where)
    shapes = [
        Area(str(entry["label"]), (points_of(entry["polygon"]),))
        for entry in content["objects"]
        if not entry.get("deleted")
    ]
    yield Drawing(re.sub(r"_gt(Fine|Coarse)_polygons$", "", file.path.stem), size, shapes, file.where)


# CVAT for images 1.1


def _cvat(file: File) -> Iterator[Drawing]:
    for image in file.content.iter("image"):
        size = _size(image.attrib["height"], image.attrib["width"], file.where)
        found = sorted((entry for entry in image if "label" in entry.attrib), key=_layer)
        shapes = [shape for entry in found for shape in _cvat_shape(entry)]
        yield Drawing(PurePosixPath(image.attrib["name"]).stem, size, shapes, file.where)


def _layer(entry: Element) -> int:
    return int(entry.get("z_order", "0"))


def _cvat_shape(entry: Element) -> Iterator[Shape]:
    label = entry.attrib["label"]
    if entry.tag == "mask":
        height, width = int(entry.attrib["height"]), int(entry.attrib["width"])
        check_picture_size(height, width, "a mask")
        runs = [int(run) for run in entry.attrib["rle"].split(",")]
        origin = int(entry.attrib["left"]), int(entry.attrib["top"])
        yield Bitmap(label, rle.decode_rows(runs, height, width), origin)
    elif entry.tag == "box":
        sides = (float(entry.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
        yield Area(label, (box(*sides),))
    elif entry.tag == "ellipse":
        yield Area(label, (ellipse(*(float(entry.attrib[key]) for key in ("cx", "cy", "rx", "ry"))),))
    elif entry.tag in ("polygon", "polyline", "points"):
        points = points_of(
            [[float(part) for part in pair.split(",")] for pair in entry.attrib["points"].split(";")]
        )
        if entry.tag == "polygon":
            yield Area(label, (points,))
        elif entry.tag == "polyline":
            yield Line(label, points)
        else:
            yield from (Line(label, point[None]) for point in points)
    else:
        raise ValueError(f"a shape <{entry.tag}>")


def _cvat_classes(root: Element) -> list[str]:
    return [entry.text or "" for entry in root.iterfind("meta//label/name")]


def _coco_classes(content: dict[str, Any]) -> list[str]:
    return [
        str(entry["name"]) for entry in sorted(content.get("categories", ()), key=lambda entry: entry["id"])
    ]


PROGRAMS = (
    Program("labelme", _has("shapes", "imageHeight"), _labelme),
    Program("COCO", _has("images", "annotations"), _coco, _coco_classes),
    Program("Supervisely", _has("objects", "size"), _supervisely),
    Program("Cityscapes", _has("objects", "imgHeight"), _cityscapes),
    Program(
        "CVAT",
        lambda content: isinstance(content, Element) and content.tag == "annotations",
        _cvat,
        _cvat_classes,
    ),
)
