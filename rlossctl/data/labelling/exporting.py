"""Predictions in the forms of annotation programs: labelme's JSON, and COCO's with run lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from rlossctl.data.labelling import rle
from rlossctl.data.labelling.outlines import outlines

VOID = 255
IGNORED = "__ignore__"  # labelme's label of pixels that do not count
BACKGROUND = ("background", "_background_", "bg")  # usual names of class 0


def labelme(labels: np.ndarray, names: Sequence[str], image: str) -> str:
    """The JSON text of labelme for a label map: a polygon for every region.

    Pixels of VOID have none (without such pixels, those of class 0 if it is a background), unless they lie
    within another region.

    Args:
        labels: uint8 [H, W].
        names: of the classes, in the order of ids.
        image: the photo's name, as labelme finds it from the file's folder.
    """
    plain = bool(names) and names[0] in BACKGROUND and not (labels == VOID).any()
    empty = 0 if plain else VOID
    shapes = [
        {
            "label": names[outline.label] if outline.label < len(names) else IGNORED,
            "points": outline.points.tolist(),
            "group_id": None,
            "shape_type": "polygon",
            "flags": {},
        }
        for outline in outlines(labels, empty)
    ]
    height, width = labels.shape
    content: dict[str, Any] = {
        "version": "5.0.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
    }
    return json.dumps({**content, "imageHeight": height, "imageWidth": width}, indent=1)


class CocoFile:
    """Writes a COCO file photo by photo: one annotation with run lengths for each class in it.

    Args:
        file: an open binary file.
        names: of the classes, in the order of ids, which are the category ids.
    """

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        self._file, self._names = file, names
        self._images: list[dict[str, Any]] = []
        self._count = 0
        file.write(b'{"annotations": [')

    def add(self, labels: np.ndarray, name: str) -> None:
        """Adds a label map, uint8 [H, W], of the photo of this file name."""
        height, width = labels.shape
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": name, "height": height, "width": width})
        for label in np.unique(labels).tolist():
            if label < len(self._names):
                self._write(_annotation(labels == label, label, number, self._count + 1))

    def close(self) -> None:
        """Writes the rest: images and categories."""
        categories = [{"id": label, "name": name} for label, name in enumerate(self._names)]
        rest = json.dumps({"images": self._images, "categories": categories})
        self._file.write(b"\n], " + rest[1:].encode() + b"\n")

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write((b",\n" if self._count else b"\n") + json.dumps(entry).encode())
        self._count += 1


def _annotation(mask: np.ndarray, label: int, image: int, number: int) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "segmentation": {"size": list(mask.shape), "counts": rle.encode(mask)},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "iscrowd": 0,
    }
