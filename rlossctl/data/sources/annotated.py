"""The strokes of label_type STROKES: annotation files by the names of their photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlossctl.data.augmenting.strokes import Strokes
from rlossctl.data.lists import Sample
from rlossctl.data.sets.names import class_names
from rlossctl.data.weak.annotations import CITYSCAPES_IDS, Annotation, read_clicks, read_scribbles
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import ImageDataParameter

_FIELDS = ("annotation", "stroke_width", "stroke_ratio", "classes", "cityscapes_ids")
_SCRIBBLES_OF = "voc"  # ScribbleSup's classes


def read_annotations(
    param: ImageDataParameter, samples: Sequence[Sample], where: str
) -> dict[str, Annotation]:
    """The annotations of the listed photos, by the photos' names without folder and suffix.

    Photos without an annotation have no strokes. All JSON files come first, then scribbles as named.

    Raises:
        DataError: a file cannot be read or is not in one of the forms, or no photo has an annotation.
    """
    clicks = [path for path in param.annotation if path.lower().endswith(".json")]
    names = class_names(param.classes or None)
    count = len(CITYSCAPES_IDS) if param.cityscapes_ids else len(names) if names else None
    known = class_names(param.classes or _SCRIBBLES_OF) or ()
    found = read_clicks(clicks, count, param.cityscapes_ids) if clicks else []
    for path in param.annotation:
        found += [] if path in clicks else read_scribbles(path, known)
    stems = {Path(sample.image).stem for sample in samples}
    merged: dict[str, Annotation] = {}
    for one in found:
        before = merged.get(one.name)
        strokes = [*before.strokes, *one.strokes] if before else one.strokes
        size = one.size or (before and before.size) or None
        merged.update({one.name: Annotation(one.name, strokes, size, one.where)} if one.name in stems else {})
    if not merged:
        raise DataError(
            "no photo of the list has an annotation",
            where=where,
            found=f"annotations of {', '.join(one.name for one in found[:3])} ..." if found else "none",
            expected=f"the names of photos: {', '.join(sorted(stems)[:3])} ...",
            advice="name the annotations of these photos in image_data_param",
        )
    return merged


def strokes_of(
    annotations: dict[str, Annotation], sample: Sample, size: tuple[int, int], param: ImageDataParameter
) -> Strokes:
    """What is to be drawn for a photo, whose (height, width) is `size`.

    Raises:
        DataError: the annotation was made for a photo of another size.
    """
    found = annotations.get(Path(sample.image).stem)
    if found and found.size and found.size != size:
        raise DataError(
            "photo and scribbles differ in size",
            where=found.where,
            found="photo {1}x{0}, annotation {3}x{2} (width x height)".format(*size, *found.size),
            expected="equal sizes",
            advice="use the photos that the scribbles were drawn on, or set upright: true if EXIF turns them",
        )
    return Strokes(found.strokes if found else [], param.stroke_width, param.stroke_ratio)


def fault(param: ImageDataParameter, drawn: bool) -> tuple[str, str, str] | None:
    """What is wrong with the fields for strokes: message, what was found, and what was expected.

    Args:
        drawn: whether label_type is STROKES.
    """
    given = [field.name for field, _ in param.ListFields() if field.name in _FIELDS]
    if not drawn and given:
        return "its fields for strokes have no effect", ", ".join(given), "label_type: STROKES with them"
    if drawn and not param.annotation:
        return "no strokes are named", "label_type: STROKES", "annotation: a JSON file, or XML files"
    if drawn and param.new_height:
        return "strokes are not resized with new_height", "new_height", "base_size in transform_param"
    if not 1 <= param.stroke_width <= 99:
        return "impossible width of strokes", f"stroke_width: {param.stroke_width}", "1 to 99 pixels"
    if not 0 < param.stroke_ratio <= 1:
        return "impossible share of strokes", f"stroke_ratio: {param.stroke_ratio:g}", "above 0, at most 1"
    return None
