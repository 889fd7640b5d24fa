"""A confusion matrix: a square for each pair of classes, the darker the larger its share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlossctl.charts.shapes import Chart, Rect, Shape, Text, shortened, text_width

SQUARE, SMALL, MANY = 26, 14, 30  # a side; that of a matrix of more than MANY classes, which has no numbers
_NAMES = 150  # the widest name
_STEPS = 20  # of the scale beside the matrix

# From a share of 0 to 1: the square's colour and that of the number on it, as `#rrggbb`.
Ramp = Callable[[float], tuple[str, str]]


def matrix_chart(shares: Sequence[Sequence[float]], names: Sequence[str], ramp: Ramp, title: str) -> Chart:
    """The matrix with truth in rows, and a scale on its right.

    Args:
        shares: of each true class, 0 to 1; NaN where a class has no pixels.
    """
    side = SQUARE if len(names) <= MANY else SMALL
    size = min(11, side - 3)
    room = 12 + min(_NAMES, max(text_width(name, size) for name in names))
    left, top, whole = room + 18, room + 18, side * len(names)
    shapes: list[Shape] = [
        Text(left + whole / 2, 12, "predicted", "middle", size=12),
        Text(12, top + whole / 2, "true", "middle", size=12, upwards=True),
    ]
    for index, name in enumerate(names):
        middle, text = side * (index + 0.5), shortened(name, _NAMES, size)
        shapes.append(Text(left - 6, top + middle + size / 3, text, "end", size=size))
        shapes.append(Text(left + middle + size / 3, top - 6, text, size=size, upwards=True))
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            shapes += _square(share, (left + side * column, top + side * row), side, ramp)
    shapes += _scale(left + whole + 16, top, min(whole, 260), ramp)
    return Chart(title, left + whole + 84, top + max(whole, 60) + 12, shapes)


def _square(share: float, corner: tuple[float, float], side: int, ramp: Ramp) -> list[Shape]:
    x, y = corner
    missing = share != share
    back, ink = ramp(0 if missing else share)
    square = Rect(x + 0.25, y + 0.25, side - 0.5, side - 0.5, back)
    text = "-" if missing else f"{100 * share:.0f}"
    if side == SMALL or text == "0":
        return [square]
    return [square, Text(x + side / 2, y + side / 2 + 3.5, text, "middle", ink, 9.5)]


def _scale(x: float, top: float, height: float, ramp: Ramp) -> list[Shape]:
    part = height / _STEPS
    squares = [
        Rect(x, top + height - part * (index + 1), 14, part, ramp(index / (_STEPS - 1))[0])
        for index in range(_STEPS)
    ]
    return [*squares, Text(x + 20, top + 9, "100 %"), Text(x + 20, top + height, "0 %")]
