"""What annotations consist of, whatever program wrote them; and drawing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rlossctl.data.weak.raster import draw_line

FARTHEST = 1e9  # pixels from the corner; farther points are mistakes


@dataclass(frozen=True)
class Area:
    """The inside of closed outlines, by the even-odd rule: an outline within another one is a hole.

    Attributes:
        label: the class, by name or id.
        outlines: [P, 2] each, as (x, y) in pixels; the first pixel covers 0..1.
    """

    label: str | int
    outlines: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Line:
    """A line along points [P, 2] (x, y), or a dot; it is drawn with a round brush."""

    label: str | int
    points: np.ndarray


@dataclass(frozen=True)
class Bitmap:
    """A mask, bool [h, w], whose first pixel lies at (x, y)."""

    label: str | int
    mask: np.ndarray
    origin: tuple[int, int] = (0, 0)


Shape = Area | Line | Bitmap


@dataclass(frozen=True)
class Drawing:
    """The annotation of one photo.

    Attributes:
        name: the photo's name without folder and suffix.
        size: (height, width).
        shapes: later ones cover earlier ones.
        where: the file, for errors.
    """

    name: str
    size: tuple[int, int]
    shapes: Sequence[Shape]
    where: str


def draw(drawing: Drawing, identify: Callable[[str | int], int], empty: int, width: int = 3) -> np.ndarray:
    """The label image, uint8 [H, W].

    Args:
        identify: the id of a class.
        empty: the id of pixels without a shape.
        width: of lines and dots, in pixels.
    """
    canvas = np.full(drawing.size, empty, np.uint8)
    for shape in drawing.shapes:
        label = identify(shape.label)
        if isinstance(shape, Area):
            fill(canvas, shape.outlines, label)
        elif isinstance(shape, Bitmap):
            _paste(canvas, shape, label)
        else:
            draw_line(canvas, shape.points[:, ::-1] - 0.5, width, label)
    return canvas


def fill(canvas: np.ndarray, outlines: Sequence[np.ndarray], label: int) -> None:
    """Writes a label to the pixels [H, W] whose centres lie inside outlines, by the even-odd rule."""
    points = np.concatenate(outlines)
    low = np.floor(points.min(axis=0)).clip(0, canvas.shape[::-1]).astype(int)
    high = np.ceil(points.max(axis=0)).clip(0, canvas.shape[::-1]).astype(int)
    columns, rows = high - low
    if columns < 1 or rows < 1:
        return
    crossings = np.zeros((rows, columns + 1), np.int32)
    starts = np.concatenate(outlines) - low
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines]) - low
    _cross(crossings, starts, ends)
    inside = np.cumsum(crossings[:, :-1], axis=1) % 2 == 1
    canvas[low[1] : high[1], low[0] : high[0]][inside] = label


def _cross(crossings: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Counts, for each edge [E, 2] and row of pixels, the first pixel whose centre lies right of the edge."""
    down = (starts[:, 1] <= ends[:, 1])[:, None]
    tops, bottoms = np.where(down, starts, ends), np.where(down, ends, starts)
    first, last = (np.ceil(y - 0.5).clip(0, len(crossings)).astype(int) for y in (tops[:, 1], bottoms[:, 1]))
    edges = np.repeat(np.arange(len(starts)), last - first)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(last - first) - last, last - first)
    (x, y), way = tops[edges].T, (bottoms - tops)[edges]
    crossed = x + (rows + 0.5 - y) * way[:, 0] / way[:, 1]
    columns = np.ceil(crossed - 0.5).clip(0, crossings.shape[1] - 1).astype(int)
    np.add.at(crossings, (rows, columns), 1)


def _paste(canvas: np.ndarray, shape: Bitmap, label: int) -> None:
    left, top = shape.origin
    mask = shape.mask[max(0, -top) :, max(0, -left) :]
    place = canvas[max(0, top) :, max(0, left) :][: mask.shape[0], : mask.shape[1]]
    place[mask[: place.shape[0], : place.shape[1]]] = label


def points_of(values: object) -> np.ndarray:
    """Points [P, 2] from a list of pairs, or from one flat list.

    Raises:
        ValueError: they are not pairs of finite numbers near the photo.
    """
    points = np.asarray(values, dtype=np.float64)
    points = points.reshape(-1, 2) if points.ndim == 1 else points
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"points of shape {points.shape}, not pairs of numbers")
    if not np.isfinite(points).all() or np.abs(points).max() > FARTHEST:
        raise ValueError("a point that is not a number, or far outside the photo")
    return points


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The outline of a rectangle."""
    return points_of([[left, top], [right, top], [right, bottom], [left, bottom]])


def ellipse(x: float, y: float, across: float, down: float) -> np.ndarray:
    """The outline of an ellipse with these radii, as a polygon of 180 corners."""
    angle = np.arange(180) * (np.pi / 90)
    return points_of(np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], axis=1))
