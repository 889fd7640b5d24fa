"""Drawing photos with their labels: class colours over a photo, and captioned sheets."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlossctl.data.images import read_image, read_label
from rlossctl.data.lists import Sample
from rlossctl.data.palette import voc_palette
from rlossctl.errors import DataError
from rlossctl.files import atomic_write

Panel = tuple[str, np.ndarray]
_NARROWEST = 280  # pixels; below it a caption would run into the next panel
_CAPTION = 22
_GAP = 6
_SQUARE = 12  # of a legend
_THUMBNAIL = (280, 210)  # width, height
_SEE_THROUGH_FROM = 0.2  # labels that cover a larger share would hide the photo


def overlay(
    photo: np.ndarray, ids: np.ndarray, opacity: float = 0.5, colours: np.ndarray | None = None
) -> np.ndarray:
    """Class colours over the photo.

    Args:
        photo: uint8 [H, W, 3] BGR.
        ids: uint8 [H, W]; 255 is drawn in VOC's light beige.
        opacity: opacity of the class colours, 0 to 1.
        colours: uint8 [256, 3] RGB; VOC's palette by default.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    table = voc_palette() if colours is None else colours
    # As integers of 1/256: a few times quicker than floats, and nobody sees the difference.
    part = round(256 * opacity)
    under = photo[:, :, ::-1].astype(np.uint16) * np.uint16(256 - part)
    over = (table.astype(np.uint16) * np.uint16(part))[ids]
    return ((under + over) >> 8).astype(np.uint8)


def legend(ids: Sequence[int], names: Sequence[str], colours: np.ndarray, width: int) -> np.ndarray:
    """Squares in the colours of classes with their names, in rows.

    Args:
        ids: the classes to show.
        names: of all classes, in the order of ids; others are shown by id.
        colours: uint8 [256, 3] RGB.
        width: of the result, in pixels.

    Returns:
        uint8 [h, width, 3] RGB, on white.
    """
    font = ImageFont.load_default()
    labels = {place: names[place] if place < len(names) else str(place) for place in ids}
    column = _SQUARE + 12 + max((round(font.getlength(text)) for text in labels.values()), default=0)
    columns = max(1, width // column)
    sheet = Image.new("RGB", (width, -(-len(labels) // columns) * _CAPTION + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (place, text) in enumerate(labels.items()):
        x, y = number % columns * column + 4, number // columns * _CAPTION + _GAP
        draw.rectangle(
            (x, y, x + _SQUARE, y + _SQUARE), fill=tuple(map(int, colours[place])), outline="black"
        )
        draw.text((x + _SQUARE + 4, y), text, fill="black", font=font)
    return np.asarray(sheet)


def enlarge(panel: np.ndarray) -> np.ndarray:
    """Enlarges a small panel by a whole factor until it is wide enough for its caption."""
    factor = -(-_NARROWEST // panel.shape[1])
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)


def montage(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Captioned panels of one size in a grid.

    Args:
        rows: lists of (caption, uint8 [H, W, 3] RGB).
    """
    rows = [[(caption, enlarge(panel)) for caption, panel in row] for row in rows]
    height, width = rows[0][0][1].shape[:2]
    columns = max(len(row) for row in rows)
    step_x, step_y = width + _GAP, height + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, len(rows) * step_y + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    for j, row in enumerate(rows):
        for i, (caption, panel) in enumerate(row):
            x, y = _GAP + i * step_x, _GAP + j * step_y
            draw.text((x + 2, y + 5), caption, fill="black", font=font)
            sheet.paste(Image.fromarray(panel), (x, y + _CAPTION))
    return sheet


def save_sheet(
    path: str | os.PathLike[str], samples: Sequence[Sample], count: int, ignore: int = 255
) -> None:
    """Writes `label_sheet` of `count` samples, spread evenly, as PNG.

    Raises:
        DataError: there is no sample to show.
        RlossError: the file cannot be written.
    """
    if not samples:
        raise DataError(
            "there is nothing to show",
            where=path,
            found="no image with a matching label",
            advice="correct the faults first",
        )
    chosen = sorted({index * len(samples) // count for index in range(count)})
    with atomic_write(path) as file:
        label_sheet([samples[index] for index in chosen], ignore).save(file, format="PNG")


def label_sheet(samples: Sequence[Sample], ignore: int = 255) -> Image.Image:
    """Photos beside their labels, two pairs in a row. Unlabelled pixels show the photo in grey.

    Args:
        samples: lines of a list whose files can be read and match in size.
    """
    panels: list[Panel] = []
    for sample in samples:
        photo, ids = read_image(sample.image), read_label(sample.label or "")
        name = sample.image.rsplit("/", 1)[-1]
        panels.append((name, thumbnail(photo[:, :, ::-1])))
        caption = f"labelled {(ids != ignore).mean():.2%}"
        panels.append((caption, thumbnail(_labels_on(photo, ids, ignore))))
    return montage([panels[start : start + 4] for start in range(0, len(panels), 4)])


def _labels_on(photo: np.ndarray, ids: np.ndarray, ignore: int) -> np.ndarray:
    """RGB: the labels over the faded photo; full masks are transparent, strokes solid with a white edge."""
    return marked(photo, blend(grey(photo), np.full(3, 255), 0.45), ids, ids != ignore)


def marked(
    photo: np.ndarray,
    under: np.ndarray,
    ids: np.ndarray,
    labelled: np.ndarray,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """Labels that can be seen: full masks transparent over the photo, strokes solid with a white edge.

    Args:
        photo: uint8 [H, W, 3] BGR.
        under: uint8 [H, W, 3] RGB, what is shown where there is no label.
        ids: uint8 [H, W].
        labelled: bool [H, W].
        colours: uint8 [256, 3] RGB; VOC's palette by default.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    if labelled.mean() > _SEE_THROUGH_FROM:
        return np.where(labelled[:, :, None], overlay(photo, ids, colours=colours), under)
    padded = np.pad(labelled, 2)
    height, width = ids.shape
    shifts = [padded[dy : dy + height, dx : dx + width] for dy in range(5) for dx in range(5)]
    edged = np.where(np.any(shifts, axis=0)[:, :, None], np.uint8(255), under)
    return np.where(labelled[:, :, None], (voc_palette() if colours is None else colours)[ids], edged)


def thumbnail(panel: np.ndarray, box: tuple[int, int] = _THUMBNAIL) -> np.ndarray:
    """uint8 [H, W, 3] fitted into a box (width, height); light bars fill the rest."""
    image = Image.fromarray(np.ascontiguousarray(panel))
    scale = min(box[0] / image.width, box[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    sheet = Image.new("RGB", box, (238, 238, 238))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    sheet.paste(image.resize(size, method), ((box[0] - size[0]) // 2, (box[1] - size[1]) // 2))
    return np.asarray(sheet)


def grey(photo: np.ndarray) -> np.ndarray:
    """The photo's mean of B, G and R in three channels, float64 [H, W, 3]."""
    return np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2)


def blend(under: np.ndarray, over: np.ndarray, opacity: float) -> np.ndarray:
    """`over` blended onto `under`, uint8."""
    return np.rint(under * (1 - opacity) + over * opacity).astype(np.uint8)
