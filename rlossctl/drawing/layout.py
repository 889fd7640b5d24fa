"""Placing the boxes of a drawing: rows by distance from the input, columns so that few lines cross.

After Sugiyama, Tagawa and Toda (1981), in its simplest form. Longest paths give the rows. Lines
across several rows get a bend in each. Boxes are sorted within their rows by the mean position of their
neighbours and then moved towards it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from rlossctl.drawing.boxes import Box

CHARACTER, LINE, PAD = 6.3, 14, 8  # width, height and margin in pixels
GAP, ROW_GAP, BEND = 24, 30, 8
SWEEPS = 24


@dataclass
class Place:
    """A box, or a bend of a line (box None): its size and the position of its middle."""

    box: Box | None
    row: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


@dataclass
class Drawing:
    """Places, and lines as lists of their indices from top to bottom."""

    places: list[Place]
    lines: list[list[int]]
    width: float
    height: float


def arrange(boxes: list[Box]) -> Drawing:
    """Coordinates for every box and line."""
    rows = _rows(boxes)
    places = [place_of(box, row) for box, row in zip(boxes, rows, strict=True)]
    lines = [_line(places, source, index) for index, box in enumerate(boxes) for source in box.sources]
    table: list[list[int]] = [[] for _ in range(max(rows, default=0) + 1)]
    for index, place in enumerate(places):
        table[place.row].append(index)
    _sort(table, places)
    _spread(table, places)
    top = 0.0
    for row in table:
        height = max((places[index].height for index in row), default=0)
        for index in row:
            places[index].y = top + height / 2
        top += height + ROW_GAP
    left = min((place.x - place.width / 2 for place in places), default=0)
    for place in places:
        place.x -= left
    width = max((place.x + place.width / 2 for place in places), default=0)
    return Drawing(places, lines, width, max(0.0, top - ROW_GAP))


def _rows(boxes: list[Box]) -> list[int]:
    """Rows by longest path from boxes without sources, which then move to just before their first reader."""
    rows = [0] * len(boxes)
    for index, box in enumerate(boxes):
        rows[index] = max((rows[source] + 1 for source in box.sources), default=0)
    first: dict[int, int] = {}
    for index in range(len(boxes) - 1, -1, -1):
        if index in first and not boxes[index].sources:
            rows[index] = first[index] - 1
        for source in boxes[index].sources:
            first[source] = min(first.get(source, rows[index]), rows[index])
    return rows


def place_of(box: Box, row: int = 0) -> Place:
    texts = [box.title, *box.kinds, box.shape]
    width = max(len(text) for text in texts) * CHARACTER + 2 * PAD + (30 if box.times > 1 else 0)
    return Place(box, row, width, LINE * (1 + len(box.kinds) + bool(box.shape)) + 2 * PAD)


def _line(places: list[Place], start: int, end: int) -> list[int]:
    """The places along a line, with a new bend in each row between its ends."""
    line = [start]
    for row in range(places[start].row + 1, places[end].row):
        places.append(Place(None, row, BEND, 0))
        line.append(len(places) - 1)
    line.append(end)
    for upper, lower in itertools.pairwise(line):
        places[upper].below.append(lower)
        places[lower].above.append(upper)
    return line


def _sort(table: list[list[int]], places: list[Place]) -> None:
    """Sorts each row by the mean position of the neighbours above, then below, several times."""
    position = {index: float(number) for row in table for number, index in enumerate(row)}

    def mean(index: int, near: list[int]) -> float:
        return sum(position[other] for other in near) / len(near) if near else position[index]

    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in table if down else reversed(table):
            row.sort(key=lambda i: mean(i, places[i].above if down else places[i].below))
            position.update((index, float(number)) for number, index in enumerate(row))


def _spread(table: list[list[int]], places: list[Place]) -> None:
    """Moves every place towards the mean of its neighbours, unless others in its row are in the way."""
    for row in table:
        x = 0.0
        for index in row:
            places[index].x = x + places[index].width / 2
            x += places[index].width + GAP
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for row in table if down else reversed(table):
            wishes = []
            for index in row:
                place = places[index]
                near = (place.above if down else place.below) or place.above or place.below
                wishes.append(sum(places[other].x for other in near) / len(near) if near else place.x)
            for index, x in zip(row, _apart(row, wishes, places), strict=True):
                places[index].x = x


def _apart(row: list[int], wishes: list[float], places: list[Place]) -> list[float]:
    """Positions in order, no two too close, and nearest to the wishes in the sum of squares. Places that push
    each other form a group, which is centred on the mean of its wishes."""
    groups: list[
        tuple[float, int, float]
    ] = []  # (sum of wishes less offsets, members, width before the next)
    offsets, offset = [], 0.0
    for number, index in enumerate(row):
        if number:
            offset += (places[row[number - 1]].width + places[index].width) / 2 + GAP
        offsets.append(offset)
    for wish, shift in zip(wishes, offsets, strict=True):
        groups.append((wish - shift, 1, 0.0))
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count, _ = groups.pop()
            before = groups.pop()
            groups.append((before[0] + total, before[1] + count, 0.0))
    starts = [total / count for total, count, _ in groups for _ in range(count)]
    return [start + shift for start, shift in zip(starts, offsets, strict=True)]
