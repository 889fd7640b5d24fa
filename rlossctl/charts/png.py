"""A chart as PNG, drawn by Pillow with the font that comes with it, and both files beside each other."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rlossctl.charts.shapes import THEMED, Chart, Dot, Rect, Shape, Stroke, Text
from rlossctl.charts.svg import svg_text
from rlossctl.files import atomic_write, make_folder

SCALE = 3  # pixels of the PNG for one of the chart: 288 to the inch
_FINER = 2  # drawn so many times larger, then made smaller, for smooth edges
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def write_chart(folder: Path, name: str, chart: Chart) -> None:
    """Writes NAME.svg and NAME.png into a folder, which is made if it is missing.

    Raises:
        RlossError: they cannot be written.
    """
    make_folder(folder)
    with atomic_write(folder / f"{name}.svg") as file:
        file.write(svg_text(chart).encode())
    with atomic_write(folder / f"{name}.png") as file:
        png_image(chart).save(file, format="PNG", optimize=True, dpi=(96 * SCALE, 96 * SCALE))


def png_image(chart: Chart) -> Image.Image:
    """The picture, SCALE times as large as the chart. Characters that the font lacks are boxes."""
    size = round(chart.width * SCALE * _FINER), round(chart.height * SCALE * _FINER)
    image = Image.new("RGB", size, THEMED["paper"])
    draw = ImageDraw.Draw(image)
    for shape in chart.shapes:
        _draw(shape, image, draw)
    return image.reduce(_FINER)


def _draw(shape: Shape, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
    one = SCALE * _FINER
    if isinstance(shape, Rect):
        right, bottom = (shape.x + shape.width) * one - 1, (shape.y + shape.height) * one - 1
        if right >= shape.x * one and bottom >= shape.y * one:
            draw.rectangle((shape.x * one, shape.y * one, right, bottom), fill=_colour(shape.fill))
    elif isinstance(shape, Dot):
        radius = shape.radius * one
        box = (shape.x * one - radius, shape.y * one - radius, shape.x * one + radius, shape.y * one + radius)
        draw.ellipse(box, fill=_colour(shape.fill))
    elif isinstance(shape, Stroke):
        points = [(x * one, y * one) for x, y in shape.points]
        draw.line(points, fill=_colour(shape.colour), width=round(shape.width * one), joint="curve")
    elif shape.upwards:
        _draw_upwards(shape, image)
    else:
        place = (shape.x * one, shape.y * one)
        draw.text(
            place,
            shape.text,
            _colour(shape.fill),
            _font(shape),
            _ANCHORS[shape.anchor],
            stroke_width=_bold(shape),
        )


def _draw_upwards(shape: Text, image: Image.Image) -> None:
    """Draws the text level on a sheet of its own, turns it, and lays its ink over the picture."""
    one = SCALE * _FINER
    font = _font(shape)
    width, line = round(font.getlength(shape.text)) + 2 * one, round(2 * shape.size * one)
    ink = Image.new("L", (width, line))
    ImageDraw.Draw(ink).text((one, line // 2), shape.text, 255, font, "ls", stroke_width=_bold(shape))
    below = {"start": one, "middle": width // 2, "end": width - one}[shape.anchor]
    left, top = round(shape.x * one) - line // 2, round(shape.y * one) - width + below
    turned = ink.transpose(Image.Transpose.ROTATE_90)
    image.paste(_colour(shape.fill), (left, top), turned)


def _font(shape: Text) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(shape.size * SCALE * _FINER)


def _bold(shape: Text) -> float:
    return 0.018 * shape.size * SCALE * _FINER if shape.bold else 0


def _colour(name: str) -> str:
    return THEMED.get(name, name)
