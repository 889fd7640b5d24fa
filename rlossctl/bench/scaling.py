"""Draws how the native filter's time changes with threads, classes and pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from rlossctl.bench.contenders import Contender
from rlossctl.bench.measure import Job, filter_ms
from rlossctl.files import atomic_write

Curve = list[tuple[float, float]]
WIDTH, HEIGHT, MARGIN = 320, 260, 48
COLOURS = {"smooth": (0, 114, 178), "textured": (213, 94, 0)}


def scaling(path: Path, contender: Contender, most_threads: int, job: Job) -> list[str]:
    """Measures, draws three panels to `path` (PNG), and returns the measurements as lines."""
    threads = [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= most_threads]
    variations = {
        "threads, 8 images of 129x129": [
            (count, replace(job, size=129, batch=8, threads=count, on_the_clock=True)) for count in threads
        ],
        "classes, 129x129": [
            (count, replace(job, size=129, channels=count)) for count in (1, 8, 21, 60, 150)
        ],
        "pixels, 21 classes": [(size**2, replace(job, size=size)) for size in (41, 81, 129, 257)],
    }
    sheet = Image.new("RGB", (WIDTH * len(variations), HEIGHT), "white")
    lines = []
    for column, (title, points) in enumerate(variations.items()):
        curves: dict[str, Curve] = {}
        for kind in COLOURS:
            curves[kind] = [(x, filter_ms(contender, replace(one, kind=kind))) for x, one in points]
            lines += [f"{title}: {x:g}, {kind}: {ms:.2f} ms per image" for x, ms in curves[kind]]
        sheet.paste(panel(title, curves), (WIDTH * column, 0))
    with atomic_write(path) as part:
        sheet.save(part, format="png")
    return lines


def panel(title: str, curves: dict[str, Curve]) -> Image.Image:
    """A plot of milliseconds per image over something else, both axes from 0 to the largest value."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    largest_x = max(x for curve in curves.values() for x, _ in curve)
    largest_y = max(y for curve in curves.values() for _, y in curve) or 1.0
    right, bottom = WIDTH - 16, HEIGHT - MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            MARGIN + x / largest_x * (right - MARGIN),
            bottom - y / largest_y * (bottom - 32),
        )

    draw.line([place(0, largest_y), place(0, 0), place(largest_x, 0)], fill="black")
    draw.text((MARGIN, 8), f"ms per image over {title}", fill="black")
    draw.text((4, place(0, largest_y)[1] - 5), f"{largest_y:.3g}", fill="black")
    draw.text((4, bottom - 5), "0", fill="black")
    for x in sorted({x for curve in curves.values() for x, _ in curve}):
        draw.line([place(x, 0), (place(x, 0)[0], bottom + 4)], fill="black")
    draw.text((place(largest_x, 0)[0] - 28, bottom + 8), f"{largest_x:g}", fill="black")
    for row, (kind, curve) in enumerate(curves.items()):
        points = [place(x, y) for x, y in curve]
        draw.line(points, fill=COLOURS[kind], width=2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS[kind])
        draw.text((MARGIN, bottom + 8 + 14 * row), kind, fill=COLOURS[kind])
    return image
