"""Panels for reports: class colours over a photo, and where a prediction is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlossctl.data.palette import voc_palette

# Vermilion, which people with any colour vision tell from the grey of the rest.
WRONG = (213, 94, 0)
RIGHT = (86, 130, 160)
_NARROWEST = 280  # pixels; below it a caption would run into the next panel
_CAPTION = 22
_GAP = 6


def overlay(photo: np.ndarray, ids: np.ndarray, opacity: float = 0.7) -> np.ndarray:
    """Class colours (VOC's palette) over the photo in grey, whose own colours would change them.

    Args:
        photo: uint8 [H, W, 3] BGR.
        ids: uint8 [H, W]; 255 is drawn in the palette's light beige.
        opacity: of the colours, 0 to 1.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    return _blend(_grey(photo), voc_palette()[ids], opacity)


def error_map(photo: np.ndarray, truth: np.ndarray, prediction: np.ndarray, ignore: int = 255) -> np.ndarray:
    """Wrong pixels in vermilion, right ones in dim blue, ignored ones left light, over the grey photo.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    grey = _grey(photo)
    ignored = truth == ignore
    wrong = (truth != prediction) & ~ignored
    out = _blend(grey * 0.75, np.array(RIGHT), 0.35)
    out[wrong] = _blend(grey, np.array(WRONG), 0.8)[wrong]
    out[ignored] = _blend(grey, np.array((255, 255, 255)), 0.6)[ignored]
    return out


def enlarge(panel: np.ndarray) -> np.ndarray:
    """A panel wide enough for its caption: small ones are enlarged by a whole factor, pixels left square."""
    factor = -(-_NARROWEST // panel.shape[1])
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)


def montage(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> Image.Image:
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


def _grey(photo: np.ndarray) -> np.ndarray:
    return np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2)


def _blend(under: np.ndarray, over: np.ndarray, opacity: float) -> np.ndarray:
    return np.rint(under * (1 - opacity) + over * opacity).astype(np.uint8)
