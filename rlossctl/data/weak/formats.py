"""Recognising other programs' annotation files by keys or elements, for errors about unsupported files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.etree.ElementTree import Element

# The top-level keys of a program's JSON, and the program.
_JSON: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"shapes", "imagePath"}), "a labelme file"),
    (frozenset({"images", "annotations"}), "a COCO file"),
    (frozenset({"objects", "size"}), "a Supervisely file"),
    (frozenset({"_via_img_metadata"}), "a VGG Image Annotator project"),
    (frozenset({"imgHeight", "imgWidth", "objects"}), "a Cityscapes polygon file"),
    (frozenset({"type", "features"}), "a GeoJSON file"),
)


def name_of_keys(content: object) -> str | None:
    """The kind of file whose JSON has these top-level keys, or None."""
    if not isinstance(content, Mapping):
        return None
    fitting = [(len(keys), name) for keys, name in _JSON if keys <= content.keys()]
    return max(fitting)[1] if fitting else None


def json_format(content: bytes) -> str | None:
    """The kind of a file that should be XML but is JSON; None if it is not JSON either."""
    if content.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return "JSON text"
    return name_of_keys(parsed) or "a JSON file"


def xml_format(root: Element) -> str | None:
    """The kind of an XML file, or None if it is unknown."""
    if root.tag == "annotations" and root.find("image") is not None:
        return "an export of CVAT (for images 1.1)"
    if root.tag == "annotations" and root.find("track") is not None:
        return "an export of CVAT (for video 1.1)"
    if root.tag == "annotation" and root.find("object") is not None:
        return "a file of bounding boxes or polygons as written by LabelImg and LabelMe"
    return None


def tags(root: Element) -> list[str]:
    """The first few kinds of elements in a tree, without the root's own."""
    return list(dict.fromkeys(element.tag for element in root.iter() if element is not root))[:6]


def beginning(content: bytes) -> str:
    """The first characters of a text file, on one line."""
    return " ".join(content[:60].decode("utf-8", "replace").split())
