"""The work of `rlossctl data labels`: annotations and label pictures to label images."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rlossctl.data.images import image_size
from rlossctl.data.labelling.exporting import BACKGROUND, IGNORED
from rlossctl.data.labelling.idmaps import OTHER, IdMap
from rlossctl.data.labelling.pictures import read_picture
from rlossctl.data.labelling.reading import PICTURES, Annotations, drawings, texts
from rlossctl.data.labelling.shapes import Line, draw
from rlossctl.data.palette import Palette, save_label_png
from rlossctl.data.weak.folders import Mask
from rlossctl.errors import DataError, UsageError
from rlossctl.files import make_folder

UNLABELLED = 255


@dataclass(frozen=True)
class Options:
    """How annotations become label images.

    Attributes:
        classes: the classes' names in the order of their ids; None takes those of the files.
        ids: changes ids, or gives names ids.
        palette: colours to ids, for colour-coded pictures.
        background: the id of pixels without a shape; None for 0 if class 0 is a background, else 255.
        width: of lines and dots, in pixels.
        photos: the folder of the photos, to check sizes; photos without an annotation do not matter.
    """

    classes: Sequence[str] | None = None
    ids: IdMap = field(default_factory=IdMap)
    palette: Palette | None = None
    background: int | None = None
    width: int = 3
    photos: str | None = None


@dataclass
class Imported:
    """The result of an import.

    Attributes:
        labels: each label image, with its photo if it was found.
        pixels: number of pixels of each id, [256].
        classes: names by id where they came from the files.
        background: the id of pixels without a shape, if there were shapes.
        kinds: what was read -> number of files.
    """

    labels: list[Mask] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    classes: dict[int, str] = field(default_factory=dict)
    background: int | None = None
    kinds: dict[str, int] = field(default_factory=dict)


def import_labels(sources: Sequence[str], out: str, options: Options) -> Imported:
    """Writes out/NAME.png, one channel of class ids, for every annotated photo or label picture.

    Annotation files are read if there are any, else pictures.

    Args:
        sources: files, folders, .zip and .tar archives.

    Raises:
        DataError: there is nothing to read, a file is damaged, a class, id or colour is unknown, or photo and
            annotation differ in size.
    """
    folder, done = make_folder(out), Imported()
    with Annotations(list(sources)) as opened:
        for name, label, where in _labels(opened, options, done):
            path = folder / f"{name}.png"
            photo = _photo(options.photos, name, label, where)
            _check_new(path, where, done, sources)
            save_label_png(path, label, palette=False)
            done.labels.append(Mask(path, str(photo) if photo else None, where))
            done.pixels += np.bincount(label.ravel(), minlength=256)
    if not done.labels:
        raise DataError(
            "no annotation found",
            where=", ".join(sources),
            expected="annotation files (.json, .xml) or label pictures (.png, .tif, ...)",
            advice="name the folder, archive or file that holds them",
        )
    return done


def _labels(opened: Annotations, options: Options, done: Imported) -> Iterator[tuple[str, np.ndarray, str]]:
    """(name, ids, place) of each label image."""
    if next(iter(texts(opened)), None) is None:
        for entry in opened.of_kind(PICTURES):
            done.kinds["pictures"] = done.kinds.get("pictures", 0) + 1
            yield (
                entry.path.stem,
                read_picture(entry.read(), entry.where, options.palette, options.ids),
                entry.where,
            )
        return
    classes = _classes(opened, options, done)
    for program, file in texts(opened):
        done.kinds[program.name] = done.kinds.get(program.name, 0) + 1
        for drawing in drawings(program, file):
            lines = any(isinstance(shape, Line) for shape in drawing.shapes)
            done.background = _background(options, classes, lines)
            identify = functools.partial(_identify, ids=options.ids, classes=classes, where=drawing.where)
            yield drawing.name, draw(drawing, identify, done.background, options.width), drawing.where


def _classes(opened: Annotations, options: Options, done: Imported) -> dict[str, int]:
    """Names to ids: the user's, else those that the files declare, else those that their shapes have."""
    if options.classes is not None:
        return {name: index for index, name in enumerate(options.classes)}
    if options.ids.given.keys() - {OTHER}:
        return {}
    names: dict[str, None] = {}
    used: set[str] = set()
    for program, file in texts(opened):
        names.update(dict.fromkeys(program.classes(file.content)))
        used.update(str(shape.label) for drawing in drawings(program, file) for shape in drawing.shapes)
    names.update(dict.fromkeys(sorted(used - {IGNORED})))
    first = next((name for name in names if name in BACKGROUND), "background")
    ordered = [first, *(name for name in names if name != first)]
    if len(ordered) > UNLABELLED:
        raise DataError(
            "more classes than a label image can hold",
            found=f"{len(ordered)}",
            expected=f"at most {UNLABELLED}",
            advice="choose some with --map NAME=ID,...,other=255",
        )
    done.classes = dict(enumerate(ordered))
    return {name: index for index, name in done.classes.items()}


def _background(options: Options, classes: dict[str, int], lines: bool) -> int:
    if options.background is not None:
        return options.background
    return 0 if not lines and any(classes.get(name) == 0 for name in BACKGROUND) else UNLABELLED


def _identify(label: str | int, ids: IdMap, classes: dict[str, int], where: str) -> int:
    known: Mapping[str, int]
    for known in (ids.given, classes, {IGNORED: UNLABELLED}):
        if str(label) in known:
            return known[str(label)]
    if OTHER in ids.given:
        return ids.given[OTHER]
    raise DataError(
        "the class does not exist",
        where=where,
        found=repr(label),
        expected=", ".join(list(classes or ids.given)[:30]),
        advice="name it in --classes, or map it with --map NAME=ID; --map other=255 takes all others",
    )


def _photo(folder: str | None, name: str, label: np.ndarray, where: str) -> Path | None:
    """The annotation's photo; raises DataError if its size differs."""
    if folder is None:
        return None
    stems = (name, f"{name}_leftImg8bit")
    tried = (
        Path(folder) / f"{stem}{suffix}" for stem in stems for suffix in (".jpg", ".jpeg", ".png", ".tif")
    )
    photo = next((path for path in tried if path.is_file()), None)
    if photo is None:
        raise DataError(
            "the annotated photo is not there",
            where=where,
            found=f"no {name}.jpg or {name}.png in {folder}",
            expected="the photos under the names in the annotation",
            advice="name their folder with --images, or leave it out",
        )
    size = image_size(photo, listed=where)
    if size != label.shape:
        raise DataError(
            "photo and annotation differ in size",
            where=where,
            found="photo {1}x{0}, annotation {3}x{2} (width x height)".format(*size, *label.shape),
            expected="equal sizes",
            advice="use the photos that were annotated (not turned by EXIF or made smaller since)",
        )
    return photo


def _check_new(path: Path, where: str, done: Imported, sources: Sequence[str]) -> None:
    """Refuses a second label of one name, and one that would overwrite its own source."""
    if any(mask.path == path for mask in done.labels):
        raise DataError(
            "two annotations have the same name",
            where=where,
            found=path.stem,
            expected="names that differ, because all labels go into one folder",
            advice="import the folders one by one",
        )
    if path.exists() and any(path.resolve().is_relative_to(Path(source).resolve()) for source in sources):
        raise UsageError(
            "the label would overwrite what it is made from, or lie beside it",
            where=path,
            expected="a separate folder for the labels",
            advice="name a new folder with --out",
        )
