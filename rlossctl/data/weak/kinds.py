"""Other weak labels from full masks: skeletons, clicks and boxes."""

from __future__ import annotations

from collections import deque

import numpy as np

from rlossctl.data.weak.regions import find_regions
from rlossctl.data.weak.scribble import Canvas, check_request, make_scribbles, sort_regions
from rlossctl.data.weak.thinning import skeletons

KINDS = ("strokes", "skeleton", "clicks", "boxes")
WITH_COVERAGE = ("strokes", "skeleton")
DEFAULT_COVERAGE = 0.03


def make_weak_label(
    mask: np.ndarray,
    kind: str = "strokes",
    *,
    coverage: float | None = None,
    width: int = 3,
    seed: int = 0,
    ignore: int = 255,
) -> np.ndarray:
    """A weak label of one kind from a full mask.

    * strokes: see `make_scribbles`; 3 % of the pixels unless `coverage` says otherwise.
    * skeleton: the thinned shape of every region, drawn with the brush. With `coverage`, each skeleton is
      shortened to the same share of its length: a connected part at a random place.
    * clicks: one dot per region, at a random place away from its border, where people would click.
    * boxes: the bounding box of every region of a class above 0, small boxes over large ones, and class 0
      (background) everywhere else. Ignored pixels of the mask get the class of the box over them.

    Specks get no label unless their class has no larger region. The other parameters are those of
    `make_scribbles`.

    Returns:
        uint8 [H, W]: class ids, 255 unlabelled.

    Raises:
        DataError: the mask is not two-dimensional, or the numbers are out of range.
    """
    mask = np.asarray(mask)
    if kind == "strokes":
        coverage = DEFAULT_COVERAGE if coverage is None else coverage
        return make_scribbles(mask, coverage=coverage, width=width, seed=seed, ignore=ignore)
    check_request(mask, 1.0 if coverage is None else coverage, width)
    mask = mask.astype(np.uint8)
    canvas = Canvas(mask, find_regions(mask), width)
    dots, large = sort_regions(canvas.regions, mask.size, width, ignore)
    rng = np.random.default_rng(seed % 2**64)
    if kind == "skeleton":
        _draw_skeletons(canvas, dots, large, coverage, rng)
    elif kind == "clicks":
        _draw_clicks(canvas, sorted(dots + large), rng)
    else:
        _draw_boxes(canvas, dots + large)
    return canvas.drawn


def _draw_skeletons(
    canvas: Canvas, dots: list[int], large: list[int], coverage: float | None, rng: np.random.Generator
) -> None:
    for region in dots:
        canvas.dot(region)
    thin = skeletons(canvas.regions.index)
    lines = {}
    for region in large:
        inside, _ = canvas.window(region)
        top, left, bottom, right = canvas.regions.boxes[region]
        lines[region] = np.argwhere(thin[top:bottom, left:right] & inside)
    total = sum(map(len, lines.values()))
    share = 1.0
    if coverage is not None and total:
        share = min(1.0, max(coverage * canvas.drawn.size - canvas.count, 0) / canvas.width / total)
    for region, pixels in lines.items():
        if len(pixels):
            canvas.stroke(region, _connected_part(pixels, max(1, round(share * len(pixels))), rng))


def _connected_part(pixels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The `count` pixels of a line [P, 2] that are nearest along the line to a random one."""
    if count >= len(pixels):
        return pixels
    waiting = {(int(y), int(x)) for y, x in pixels}
    y, x = pixels[rng.integers(len(pixels))]
    start = int(y), int(x)
    queue = deque([start])
    part: list[tuple[int, int]] = []
    waiting.discard(start)
    while queue and len(part) < count:
        y, x = queue.popleft()
        part.append((y, x))
        for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            if near in waiting:
                waiting.discard(near)
                queue.append(near)
    return np.array(part)


def _draw_clicks(canvas: Canvas, regions: list[int], rng: np.random.Generator) -> None:
    for region in regions:
        inside, distance = canvas.window(region)
        depth = np.where(inside, distance, 0)
        places = np.argwhere(depth >= depth.max() / 2)
        canvas.stroke(region, places[rng.integers(len(places))][None].astype(np.float64))


def _draw_boxes(canvas: Canvas, regions: list[int]) -> None:
    found = canvas.regions
    boxed = [region for region in regions if found.ids[region] != 0]
    canvas.drawn[:] = 0
    for region in sorted(boxed, key=lambda region: -int(np.prod(_extent(found.boxes[region])))):
        top, left, bottom, right = found.boxes[region]
        canvas.drawn[top:bottom, left:right] = found.ids[region]


def _extent(box: np.ndarray) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]
