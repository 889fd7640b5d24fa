"""Polygons around the regions of a label map, exactly along the pixels' edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Right, down, left, up, as (y, x); the region lies to the right of the direction.
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))


@dataclass(frozen=True)
class Outline:
    """A region without its holes.

    Attributes:
        label: its id.
        points: [P, 2] corners as (x, y); the first pixel covers 0..1.
        area: pixels inside, holes included.
    """

    label: int
    points: np.ndarray
    area: float


def outlines(labels: np.ndarray, leave_out: int) -> list[Outline]:
    """Outlines of all 4-connected regions, the largest first: drawn in this order, they give the map again.

    A region in a hole of another one is smaller than it, so it is drawn later.

    Args:
        labels: uint8 [H, W].
        leave_out: the id of pixels without a shape; its regions count only as holes in others.
    """
    found = [outline for label in np.unique(labels) for outline in _around(labels == label, int(label))]
    found.sort(key=lambda outline: -outline.area)
    return found if all(outline.label != leave_out for outline in found) else _without(found, leave_out)


def _without(found: list[Outline], leave_out: int) -> list[Outline]:
    """Without those regions of an id that come before all others around them, as they cover nothing."""
    kept: list[Outline] = []
    for outline in found:
        low, high = outline.points.min(axis=0), outline.points.max(axis=0)
        covered = any(
            (other.points.min(axis=0) <= low).all() and (other.points.max(axis=0) >= high).all()
            for other in kept
        )
        if outline.label != leave_out or covered:
            kept.append(outline)
    return kept


def _around(mask: np.ndarray, label: int) -> list[Outline]:
    """The outer outlines of a mask's 4-connected regions."""
    edges = _edges(mask)
    found = []
    while edges:
        start = next(iter(edges))
        points = _loop(edges, start)
        x, y = points.T
        area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
        if area > 0:  # holes go the other way round
            found.append(Outline(label, points, area))
    return found


def _edges(mask: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """Corner (y, x) -> directions of the edges that begin there, with the mask to their right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int], list[int]] = {}
    sides = (
        (0, inside & ~padded[:-2, 1:-1], (0, 0)),  # along the top, to the right
        (1, inside & ~padded[1:-1, 2:], (0, 1)),  # along the right side, down
        (2, inside & ~padded[2:, 1:-1], (1, 1)),
        (3, inside & ~padded[1:-1, :-2], (1, 0)),
    )
    for direction, where, (dy, dx) in sides:
        for y, x in np.argwhere(where).tolist():
            edges.setdefault((y + dy, x + dx), []).append(direction)
    return edges


def _loop(edges: dict[tuple[int, int], list[int]], start: tuple[int, int]) -> np.ndarray:
    """Follows edges from a corner back to it, and removes them; corners on straight lines are left out."""
    corners, here, before = [], start, -1
    while True:
        choices = edges[here]
        # Where two regions touch at a corner, a turn to the right stays with the own one.
        turn = (before + 1) % 4
        direction = turn if before >= 0 and turn in choices else choices[0]
        choices.remove(direction)
        if not choices:
            del edges[here]
        if direction != before:
            corners.append(here)
        here, before = (here[0] + _STEPS[direction][0], here[1] + _STEPS[direction][1]), direction
        if here == start and (here not in edges or (before + 1) % 4 not in edges[here]):
            break
    return np.array(corners, np.float64)[:, ::-1]
