"""Turning clicks and scribbles into label images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rlossctl.data.images import check_picture_size, image_size
from rlossctl.data.palette import save_label_png
from rlossctl.data.weak.annotations import Annotation
from rlossctl.data.weak.folders import Mask
from rlossctl.data.weak.raster import draw_line, on_photo, shorten
from rlossctl.data.weak.scribble import UNLABELLED
from rlossctl.errors import DataError
from rlossctl.files import make_folder

_SUFFIXES = (".jpg", ".png", ".jpeg")


@dataclass
class ImportSummary:
    """The result of an import.

    Attributes:
        labels: label and photo of each image written.
        strokes: number of strokes or clicks drawn.
        coverage: mean share of labelled pixels, 0..1.
        empty: number of images written without a stroke.
        without_photo: number of annotated images that have no photo and were skipped.
        outside: `image: point` for every point outside its photo; such clicks were skipped, and lines were
            cut at the photo's border.
    """

    labels: list[Mask] = field(default_factory=list)
    strokes: int = 0
    coverage: float = 0.0
    empty: int = 0
    without_photo: int = 0
    outside: list[str] = field(default_factory=list)


def write_annotations(
    annotations: Iterable[Annotation],
    out: str | os.PathLike[str],
    *,
    photos: str | os.PathLike[str] | None = None,
    width: int = 3,
    ratio: float = 1.0,
    strict: bool = False,
) -> ImportSummary:
    """Writes out/NAME.png for each annotation: one channel of class ids, 255 unlabelled.

    A stroke is drawn along its line with a round brush `width` pixels wide; a click is a single dot. Later
    strokes cover earlier ones. If photo and annotation both give the size, they must agree.

    Args:
        photos: folder of NAME.jpg or NAME.png. The labels take the sizes of these photos, and annotations
            without a photo are skipped. If None, the sizes are those in the annotations.
        ratio: share of each stroke's length to keep, around its middle, in (0, 1].
        strict: whether points outside the photo are an error. Otherwise they are listed.

    Raises:
        DataError: sizes are unknown or contradict each other, or (strict) points lie outside.
    """
    folder, summary = make_folder(out), ImportSummary()
    for annotation in annotations:
        photo = _photo(annotation, photos)
        if photos is not None and photo is None:
            summary.without_photo += 1
            continue
        canvas = np.full(_size(annotation, photo), UNLABELLED, dtype=np.uint8)
        for stroke in annotation.strokes:
            points = _drawable(stroke.points, canvas.shape, annotation, strict, summary)
            if points is not None:
                draw_line(canvas, shorten(points, ratio), width, stroke.label)
                summary.strokes += 1
        path = folder / f"{annotation.name}.png"
        _keep_photo(photo, path)
        save_label_png(path, canvas, palette=False)
        labelled = canvas != UNLABELLED
        summary.labels.append(Mask(path, None if photo is None else str(photo), annotation.where))
        summary.coverage += float(labelled.mean())
        summary.empty += not labelled.any()
    if not summary.labels:
        raise DataError(
            "nothing could be imported",
            where=out,
            found=f"{summary.without_photo} annotated images, none with a photo in {photos}",
            expected="photos named like the annotated images",
            advice="name the folder of the photos with --images",
        )
    summary.coverage /= len(summary.labels)
    return summary


def _photo(annotation: Annotation, photos: str | os.PathLike[str] | None) -> Path | None:
    if photos is None:
        return None
    name = annotation.name
    if name != os.path.basename(name) or name in ("", ".", "..") or "\0" in name:
        raise DataError(
            "this is not an image id",
            where=annotation.where,
            found=repr(name),
            expected="a file name without a folder or a suffix",
            advice="correct the entry",
        )
    candidates = (Path(photos) / f"{name}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _size(annotation: Annotation, photo: Path | None) -> tuple[int, int]:
    seen = image_size(photo, listed=annotation.where) if photo else None
    size = seen or annotation.size
    if size is None or min(size) < 1:
        raise DataError(
            "the image's size is not known",
            where=annotation.where,
            found="clicks without a size" if size is None else f"{size[1]}x{size[0]}",
            expected="the folder of the photos, or a size in the annotation",
            advice="add --images DIR",
        )
    if seen and annotation.size and seen != annotation.size:
        raise DataError(
            "photo and scribbles differ in size",
            where=annotation.where,
            found="photo {1}x{0}, annotation {3}x{2} (width x height)".format(*seen, *annotation.size),
            expected="equal sizes",
            advice="use the photos that the scribbles were drawn on",
        )
    check_picture_size(*size, annotation.where)
    return size


def _drawable(
    points: np.ndarray, shape: tuple[int, ...], annotation: Annotation, strict: bool, summary: ImportSummary
) -> np.ndarray | None:
    """The points of a stroke; for a click, its pixel, or None if it lies outside."""
    fits = ((points >= 0) & (points <= shape)).all(axis=1)
    outside = [f"{annotation.name}: x {x:g}, y {y:g}" for y, x in points[~fits]]
    if outside and strict:
        raise DataError(
            "a point lies outside its photo",
            where=annotation.where,
            found=outside[0],
            expected=f"x 0..{shape[1]}, y 0..{shape[0]}",
            advice="correct the entry, or leave out --strict to skip such points",
        )
    summary.outside += outside
    return on_photo(points, shape)


def _keep_photo(photo: Path | None, path: Path) -> None:
    if photo is not None and path.exists() and path.samefile(photo):
        raise DataError(
            "the label would overwrite the photo",
            where=path,
            expected="a separate folder for the labels",
            advice="name a new folder with --out",
        )
