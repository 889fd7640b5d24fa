"""Draws numbers as colours: panels with a caption and a colour bar, and sheets of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# ColorBrewer's RdBu: blue below 0, nearly white at 0, red above; distinct with any colour vision.
_SIGNED = (
    (5, 48, 97), (33, 102, 172), (67, 147, 195), (146, 197, 222), (209, 229, 240), (247, 247, 247),
    (253, 219, 199), (244, 165, 130), (214, 96, 77), (178, 24, 43), (103, 0, 31),
)  # fmt: skip
_GREY = ((0, 0, 0), (255, 255, 255))
_NARROWEST = 300  # pixels; narrower maps are enlarged by an integer factor
_GAP, _CAPTION, _BAR, _TICKS = 12, 24, 14, 84


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` evenly to `colours`."""

    low: float
    high: float
    colours: tuple[tuple[int, int, int], ...]

    def paint(self, values: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] for values [H, W]; values outside the range get the colour of the nearer end."""
        place = (values - self.low) / ((self.high - self.low) or 1.0)
        stops = np.linspace(0, 1, len(self.colours))
        channels = [np.interp(place, stops, channel) for channel in np.array(self.colours).T]
        return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def signed_scale(limit: float) -> Scale:
    """From -limit (blue) through 0 (white) to limit (red)."""
    return Scale(-limit, limit, _SIGNED)


GREY = Scale(0.0, 1.0, _GREY)  # 0 black, 1 white


@dataclass(frozen=True)
class Panel:
    """A picture (uint8 [H, W, 3] RGB) with a caption, and a scale if it has a colour bar."""

    caption: str
    picture: np.ndarray
    scale: Scale | None = None

    @classmethod
    def of(cls, caption: str, values: np.ndarray, scale: Scale) -> Panel:
        """Values [H, W] as colours."""
        return cls(caption, scale.paint(values), scale)


def sheet(title: str, lines: Sequence[str], rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Panels of one size in a grid, below a title and lines of explanation."""
    height, width = enlarge(rows[0][0].picture).shape[:2]
    columns = max(len(row) for row in rows)
    cell_x, cell_y = width + _BAR + _TICKS + 2 * _GAP, height + _CAPTION + _GAP
    fonts = ImageFont.load_default(20), ImageFont.load_default(14)
    head = _GAP + 28 + 20 * len(lines) + _GAP
    needed = max(fonts[0].getlength(title), *(fonts[1].getlength(line) for line in lines), 0)
    size = max(columns * cell_x + _GAP, int(needed) + 2 * _GAP), head + len(rows) * cell_y
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP, _GAP), title, fill="black", font=fonts[0])
    for number, line in enumerate(lines):
        draw.text((_GAP, _GAP + 28 + 20 * number), line, fill=(60, 60, 60), font=fonts[1])
    for row_number, row in enumerate(rows):
        for column, panel in enumerate(row):
            corner = _GAP + column * cell_x, head + row_number * cell_y
            _draw_panel(canvas, draw, panel, corner, fonts[1])
    return canvas


def enlarge(picture: np.ndarray) -> np.ndarray:
    """Enlarges a picture to at least 300 pixels wide; pixels stay square."""
    factor = -(-_NARROWEST // picture.shape[1])
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw_panel(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    corner: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x, y = corner
    picture = enlarge(panel.picture)
    height, width = picture.shape[:2]
    draw.text((x, y + 2), panel.caption, fill="black", font=font)
    top = y + _CAPTION
    canvas.paste(Image.fromarray(picture), (x, top))
    draw.rectangle((x - 1, top - 1, x + width, top + height), outline=(160, 160, 160))
    if panel.scale is None:
        return
    left = x + width + _GAP
    ramp = np.linspace(panel.scale.high, panel.scale.low, height)[:, None].repeat(_BAR, axis=1)
    canvas.paste(Image.fromarray(panel.scale.paint(ramp)), (left, top))
    draw.rectangle((left - 1, top - 1, left + _BAR, top + height), outline=(160, 160, 160))
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = panel.scale.high + share * (panel.scale.low - panel.scale.high)
        at = top + share * (height - 1)
        draw.line((left + _BAR, at, left + _BAR + 4, at), fill="black")
        draw.text((left + _BAR + 8, at), f"{value:.3g}", fill="black", font=font, anchor="lm")
