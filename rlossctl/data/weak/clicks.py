"""Clicks and strokes in JSON, by image id: What's the Point's form, and lines and boxes in it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.data.classes import CITYSCAPES_IDS
from rlossctl.data.weak import formats
from rlossctl.data.weak.annotations import FARTHEST, LARGEST_ANNOTATION, Annotation, Stroke
from rlossctl.data.weak.scribble import UNLABELLED
from rlossctl.errors import DataError
from rlossctl.files import read_regular

WIDEST = 99  # pixels of a brush
_FORM = '{"2007_000032": [{"x": 81.5, "y": 120, "cls": 1}, ...], ...}'


def click_files(path: str | os.PathLike[str]) -> list[str]:
    """The JSON files that a name stands for: itself, or those of a folder in their order; else none."""
    if str(path).lower().endswith(".json"):
        return [str(path)]
    return sorted(map(str, Path(path).glob("*.json"))) if os.path.isdir(path) else []


def read_clicks(
    paths: Sequence[str | os.PathLike[str]], num_classes: int | None = None, cityscapes: bool = False
) -> list[Annotation]:
    """Reads `{"ID": [{"x": column, "y": row, "cls": id}, ...], ...}` from one or more files.

    An image in several files gets the clicks of all files, in the order of the files. An empty list is an
    image without clicks. Beyond What's the Point, `x` and `y` may be lists of the same length: a line along
    these points, with `filled: true` the inside of their outline. `width` is a brush in pixels of the photo,
    and `cls` 255 takes labels away. Other keys (`rank`) are ignored.

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
            strokes = read_strokes(clicks, where, num_classes, cityscapes)
            before = merged[name].strokes if name in merged else []
            merged[name] = Annotation(name, before + strokes, None, where)
    return [merged[name] for name in sorted(merged)]


def read_strokes(
    clicks: Any, where: str, num_classes: int | None = None, cityscapes: bool = False
) -> list[Stroke]:
    """One image's clicks and strokes, from JSON that is read already; raises as `read_clicks` does."""
    if not isinstance(clicks, list):
        raise _no_click(where, clicks)
    found = (
        _stroke(click, f"{where}, click {index}", num_classes, cityscapes)
        for index, click in enumerate(clicks)
    )
    return [stroke for stroke in found if stroke is not None]


def stroke_to_json(stroke: Stroke) -> dict[str, Any]:
    """A stroke as `read_clicks` reads it, its points in hundredths of a pixel."""
    y, x = np.round(stroke.points, 2).T.tolist()
    found: dict[str, Any] = {"x": x, "y": y} if stroke.filled or len(x) > 1 else {"x": x[0], "y": y[0]}
    found["cls"] = stroke.label
    if stroke.width is not None:
        found["width"] = stroke.width
    return {**found, "filled": True} if stroke.filled else found


def _read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, LARGEST_ANNOTATION))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            "the clicks cannot be read",
            where=path,
            found=getattr(error, "strerror", None) or str(error),
            expected=f"JSON: {_FORM}",
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
            expected=_FORM,
            advice="`rlossctl data labels` reads labelme, COCO, Supervisely, Cityscapes and CVAT; or export "
            "the clicks in the form of What's the Point's",
        )
    return content


def _stroke(click: Any, where: str, num_classes: int | None, cityscapes: bool) -> Stroke | None:
    points = _points(click)
    if points is None or not _is_whole(label := click.get("cls")):
        raise _no_click(where, click)
    width, filled = click.get("width"), click.get("filled", False)
    if width is not None and not (_is_whole(width) and 1 <= width <= WIDEST):
        raise _no_click(where, click, f"a width of 1 to {WIDEST} whole pixels")
    if not isinstance(filled, bool) or (filled and len(points) < 3):
        raise _no_click(where, click, "three points or more to be filled")
    if cityscapes:
        if label not in CITYSCAPES_IDS:
            return None
        label = CITYSCAPES_IDS.index(label)
    if label != UNLABELLED and not 0 <= label < (num_classes or UNLABELLED):
        raise DataError(
            "the click's class does not exist",
            where=where,
            found=f"class {label:g}",
            expected=f"0..{(num_classes or UNLABELLED) - 1}",
            advice="check --classes; for Cityscapes' own ids add --cityscapes",
        )
    return Stroke(int(label), points, None if width is None else int(width), filled)


def _points(click: Any) -> np.ndarray | None:
    """The points [P, 2] as (y, x), or None if they are not points."""
    x, y = (click.get("x"), click.get("y")) if isinstance(click, dict) else (None, None)
    if not (isinstance(x, list) and isinstance(y, list)):
        return np.array([[y, x]], dtype=np.float64) if _is_number(x) and _is_number(y) else None
    if not x or len(x) != len(y) or not all(map(_is_near, x + y)):
        return None
    return np.array([y, x], dtype=np.float64).T


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_near(value: Any) -> bool:
    return _is_number(value) and abs(value) <= FARTHEST


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value)


def _no_click(where: str, found: Any, expected: str = "") -> DataError:
    text = repr(found)
    return DataError(
        "this is not a click",
        where=where,
        found=text if len(text) < 80 else f"{text[:80]}...",
        expected=expected
        or 'a list of {"x": number, "y": number, "cls": integer}; for lines, x and y are '
        "lists of the same length",
        advice="correct the entry, or fetch the file again",
    )
