"""Making scribbles from full masks: thin strokes through the middle of each region."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlossctl.data.weak.raster import round_brush, stamp
from rlossctl.data.weak.regions import Regions, distance_inside, find_regions
from rlossctl.data.weak.strokes import RegionPaths
from rlossctl.errors import DataError

UNLABELLED = 255
# A region smaller than this share of the image, or than this many squared stroke widths, gets a dot.
_DOT_SHARE = 0.0005
_DOT_WIDTHS = 4


def make_scribbles(
    mask: np.ndarray, *, coverage: float = 0.03, width: int = 3, seed: int = 0, ignore: int = 255
) -> np.ndarray:
    """Draws scribbles as an annotator would, from a full mask.

    Every connected region of every class, including background, gets a stroke along its middle. Tiny regions
    get a dot; specks smaller than a dot get nothing unless their class has no larger region. If the strokes
    fall short of `coverage`, large regions get branches; if they exceed it, all are shortened. A stroke never
    leaves its region.

    Args:
        mask: [H, W] class ids 0..255.
        coverage: desired share of labelled pixels among all pixels, 0..1. The result is within about a tenth
            of it, or further off if regions are many and small or most pixels are ignored.
        width: stroke width in pixels.
        seed: seed of the wobble; the same mask and seed give the same scribbles.
        ignore: id in the mask that gets no scribble. 255 never gets one: it means unlabelled in the result.

    Returns:
        uint8 [H, W]: class ids on the strokes, 255 elsewhere.

    Raises:
        DataError: the mask is not two-dimensional, or the numbers are out of range.
    """
    mask = np.asarray(mask)
    check_request(mask, coverage, width)
    mask = mask.astype(np.uint8)
    regions = find_regions(mask)
    canvas = Canvas(mask, regions, width)
    rng = np.random.default_rng(seed % 2**64)
    dots, large = sort_regions(regions, mask.size, width, ignore)
    for region in dots:
        canvas.dot(region)
    _draw_strokes(canvas, large, coverage * mask.size, rng)
    return canvas.drawn


def check_request(mask: np.ndarray, coverage: float, width: int) -> None:
    fits = mask.ndim == 2 and mask.size and mask.min() >= 0 and mask.max() <= 255
    if not fits or not 0 < coverage <= 1 or width < 1:
        raise DataError(
            "scribbles cannot be made",
            found=f"mask of shape {mask.shape}, coverage {coverage}, width {width}",
            expected="a two-dimensional mask of ids 0..255, coverage in (0, 1], width of at least 1 pixel",
            advice="correct the option, or read the mask with rlossctl.data.images.read_label",
        )


def sort_regions(regions: Regions, pixels: int, width: int, ignore: int) -> tuple[list[int], list[int]]:
    """Regions that get a dot, and regions that get strokes."""
    small = max(_DOT_SHARE * pixels, _DOT_WIDTHS * width**2)
    wanted = (regions.ids != UNLABELLED) & (regions.ids != ignore)
    largest = np.zeros(256, dtype=np.int64)
    np.maximum.at(largest, regions.ids, regions.areas)
    seen = (regions.areas >= width**2) | (regions.areas == largest[regions.ids])
    dots = np.nonzero(wanted & seen & (regions.areas < small))[0]
    strokes = np.nonzero(wanted & (regions.areas >= small))[0]
    return dots.tolist(), strokes.tolist()


def _draw_strokes(canvas: Canvas, large: list[int], target: float, rng: np.random.Generator) -> None:
    paths = {region: iter(canvas.paths(region, rng)) for region in large}
    main = {region: next(path) for region, path in paths.items()}
    lengths = {region: float(len(path)) for region, path in main.items()}
    # The round ends of a stroke cover as much as about a width of its length.
    room = (target - canvas.count) / canvas.width - canvas.width * len(main)
    share = _share(list(lengths.values()), room, canvas.width)
    for region, path in main.items():
        canvas.stroke(region, _part(path, max(share * len(path), canvas.width), rng))
    _draw_branches(canvas, paths, lengths, target, rng)


def _share(lengths: list[float], room: float, least: float) -> float:
    """The common share to which all lengths must shrink to fit into `room`, none below `least`."""
    share = 1.0
    for _ in lengths:
        short = [length for length in lengths if share * length < least]
        long = sum(lengths) - sum(short)
        fitting = min(1.0, max(room - least * len(short), 0.0) / long) if long else share
        if fitting >= share:
            break
        share = fitting
    return share


def _draw_branches(
    canvas: Canvas,
    paths: dict[int, Iterator[np.ndarray]],
    lengths: dict[int, float],
    target: float,
    rng: np.random.Generator,
) -> None:
    """Adds strokes to the regions with most area per stroke length, until the target is reached."""
    shortest = 4 * canvas.width
    enough = target - 2 * canvas.width**2
    while paths and canvas.count < enough:
        region = max(paths, key=lambda number: canvas.regions.areas[number] / lengths[number])
        branch = next(paths[region], None)
        if branch is None or len(branch) < shortest:
            del paths[region]
            continue
        lengths[region] += len(branch)
        missing = (target - canvas.count) / canvas.width
        canvas.stroke(region, _part(branch, missing, rng))


def _part(path: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """A piece, at a random place, of a path whose points lie one pixel apart."""
    count = min(len(path), max(1, round(length)))
    start = int(rng.integers(len(path) - count + 1))
    return path[start : start + count]


class Canvas:
    """The scribble map being drawn, with the regions that strokes must not leave."""

    def __init__(self, mask: np.ndarray, regions: Regions, width: int) -> None:
        self.regions = regions
        self.width = width
        self.drawn = np.full(mask.shape, UNLABELLED, dtype=np.uint8)
        self.count = 0
        self._mask = mask
        self._distance = distance_inside(regions.index)
        self._brush = round_brush(width)

    def paths(self, region: int, rng: np.random.Generator) -> RegionPaths:
        """The middle paths of a region; their points are relative to the corner of the region's box."""
        inside, distance = self.window(region)
        return RegionPaths(inside, distance, rng)

    def stroke(self, region: int, path: np.ndarray) -> None:
        """Draws a path given relative to the region's box, without the pixels that would leave the region."""
        top, left = self.regions.boxes[region, :2]
        inside, distance = self.window(region)
        # If the region is wide enough, a stroke stays off the border, as a careful hand would.
        allowed = inside & (distance >= min(2.0, distance[inside].max()))
        y, x = stamp(path, self._brush, inside.shape)
        keep = allowed[y, x]
        window = self.drawn[top : top + inside.shape[0], left : left + inside.shape[1]]
        before = int((window != UNLABELLED).sum())
        window[y[keep], x[keep]] = self.regions.ids[region]
        self.count += int((window != UNLABELLED).sum()) - before

    def dot(self, region: int) -> None:
        """A dot in the middle of a tiny region."""
        inside, distance = self.window(region)
        middle = np.unravel_index(int(np.argmax(np.where(inside, distance, 0))), inside.shape)
        self.stroke(region, np.asarray([middle], dtype=np.float64))

    def window(self, region: int) -> tuple[np.ndarray, np.ndarray]:
        """The region within its box, bool [h, w], and the distance to its border, float32 [h, w]."""
        top, left, bottom, right = self.regions.boxes[region]
        window = np.s_[top:bottom, left:right]
        return self.regions.index[window] == region, self._distance[window]
