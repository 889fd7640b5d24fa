"""Whose annotation file it is, told by its keys or elements: for errors about files that are not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.etree.ElementTree import Element

# Keys that a program's JSON has at the top, and the program.
_JSON: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"shapes", "imagePath"}), "a labelme file"),
    (frozenset({"images", "annotations"}), "a COCO file"),
    (frozenset({"objects", "size"}), "a Supervisely file"),
    (frozenset({"_via_img_metadata"}), "a VGG Image Annotator project"),
    (frozenset({"imgHeight", "imgWidth", "objects"}), "a Cityscapes polygon file"),
    (frozenset({"type", "features"}), "a GeoJSON file"),
)


def name_of_keys(content: object) -> str | None:
    """The program whose JSON has these keys at the top, or None."""
    if not isinstance(content, Mapping):
        return None
    fitting = [(len(keys), name) for keys, name in _JSON if keys <= content.keys()]
    return max(fitting)[1] if fitting else None


def json_format(content: bytes) -> str | None:
    """What a file is that should be XML and is JSON, or None where it is not JSON either."""
    if content.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return "JSON text"
    return name_of_keys(parsed) or "a JSON file"


def xml_format(root: Element) -> str | None:
    """Whose XML it is, or None where nothing tells."""
    if root.tag == "annotations" and root.find("image") is not None:
        return "an export of CVAT (for images 1.1)"
    if root.tag == "annotations" and root.find("track") is not None:
        return "an export of CVAT (for video 1.1)"
    if root.tag == "annotation" and root.find("object") is not None:
        return "a file of bounding boxes or polygons as LabelImg and LabelMe write them"
    return None


def tags(root: Element) -> list[str]:
    """The first few kinds of elements in a tree, the root's own left out."""
    return list(dict.fromkeys(element.tag for element in root.iter() if element is not root))[:6]


def beginning(content: bytes) -> str:
    """The first characters of a text file, on one line."""
    return " ".join(content[:60].decode("utf-8", "replace").split())
