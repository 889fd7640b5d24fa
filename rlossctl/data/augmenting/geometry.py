"""Where a crop lies on its photo: scale, rotation, perspective, place and flip, as one homography."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Size = tuple[int, int]
_HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_HALF_BACK = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


class Warp(NamedTuple):
    """A crop's place on its photo.

    Attributes:
        matrix: float64 [3, 3], from (x, y, 1) in the crop to the photo. Whole numbers are centres of pixels.
        size: (height, width) of the crop.
        shrink: pixels of the photo along a pixel of the crop: the root of the ratio of areas.
    """

    matrix: np.ndarray
    size: Size
    shrink: float

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (y, x) of the photo, [P, 2], as homogeneous (y, x, w) of the crop; w > 0 is in sight."""
        homogeneous = np.stack([points[:, 1], points[:, 0], np.ones(len(points))])
        x, y, w = np.linalg.inv(self.matrix) @ homogeneous
        return np.stack([y, x, w], axis=1)


@dataclass(frozen=True)
class Geometry:
    """What moves a crop's corners on the photo. Everything is random except `crop`, `base_size` and its side.

    Attributes:
        random: as in phase TRAIN. Otherwise nothing is drawn but the flip, and the crop is in the centre.
        mirror: whether to flip left-right with probability 1/2.
        crop: (height, width), or None for the whole photo, scaled.
        factors: one of them is drawn to enlarge the photo; if empty, a factor within `scale`.
        scale: the least and the greatest factor.
        window: whether the factor's inverse is uniform, and not the factor.
        base_size: the photo's side in pixels before the factor; 0 keeps the photo's own.
        base_long: whether that side is the longer one.
        rotate: the greatest angle in degrees, in both directions.
        perspective: the crop's corners move apart by up to this share of half its shorter side, in x and y.
    """

    random: bool
    mirror: bool = False
    crop: Size | None = None
    factors: tuple[float, ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)
    window: bool = False
    base_size: int = 0
    base_long: bool = False
    rotate: float = 0.0
    perspective: float = 0.0

    def size(self, photo: Size, factor: float = 1.0) -> Size:
        """(height, width) of the crop from a photo of this size."""
        if self.crop:
            return self.crop
        enlarged = factor * self._to_base(photo)
        return max(1, round(photo[0] * enlarged)), max(1, round(photo[1] * enlarged))

    def draw(self, photo: Size, rng: np.random.Generator) -> Warp:
        """Draws a crop's place: flip, factor, angle, the four corners (x, y each), top, left.

        What is not set draws nothing. The crop's corners are moved apart, divided by the factor and turned;
        their box is put at a random place on the photo, in whole pixels, and in the middle of an axis on
        which it does not fit.
        """
        flip = self.mirror and rng.integers(2) == 1
        factor = self._factor(rng)
        height, width = self.size(photo, factor)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
        angle = math.radians(rng.uniform(-self.rotate, self.rotate)) if self.random and self.rotate else 0.0
        if self.random and self.perspective:
            most = self.perspective * min(height, width) / 2
            corners += rng.uniform(-most, most, (4, 2))
        corners = _turned(corners / self._enlarged(photo, factor, (height, width)), angle)
        corners += self._place(corners, photo, rng)
        matrix = _from_rectangle(corners, (height, width))
        if flip:
            matrix = matrix @ np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
        shrink = math.sqrt(_area(corners) / (height * width))
        return Warp(_HALF_BACK @ matrix @ _HALF, (height, width), shrink)

    def _factor(self, rng: np.random.Generator) -> float:
        low, high = self.scale
        if not self.random:
            return 1.0
        if self.factors:
            return self.factors[int(rng.integers(len(self.factors)))]
        if low == high:
            return low
        return 1 / rng.uniform(1 / high, 1 / low) if self.window else rng.uniform(low, high)

    def _to_base(self, photo: Size) -> float:
        return self.base_size / (max(photo) if self.base_long else min(photo)) if self.base_size else 1.0

    def _enlarged(self, photo: Size, factor: float, size: Size) -> tuple[float, float]:
        """How many pixels of the crop lie along one of the photo, in x and y."""
        if self.crop is None:
            return size[1] / photo[1], size[0] / photo[0]
        return (factor * self._to_base(photo),) * 2

    def _place(self, corners: np.ndarray, photo: Size, rng: np.random.Generator) -> np.ndarray:
        """What brings the corners (x, y) to their place."""
        low = corners.min(axis=0)
        spare = (photo[1], photo[0]) - (corners.max(axis=0) - low)
        top = self._offset(spare[1], rng)
        return np.array([self._offset(spare[0], rng), top]) - low

    def _offset(self, spare: float, rng: np.random.Generator) -> int:
        if self.random and spare > -1e-9:
            return int(rng.integers(math.floor(spare + 1e-9) + 1))
        return int(spare / 2)


def in_sight(points: np.ndarray) -> list[np.ndarray]:
    """The parts of a polyline that a homography keeps in front, as points (y, x), [P, 2].

    Args:
        points: homogeneous (y, x, w), [P, 3]; see `Warp.to_crop`. Where w is not above a small number, they
            lie at or behind the horizon.
    """
    least = 1e-3 * float(np.abs(points[:, 2]).max())
    front = points[:, 2] > least
    if front.all():
        return [points[:, :2] / points[:, 2:]]
    parts: list[list[np.ndarray]] = [[]]
    for index, point in enumerate(points):
        if index and front[index] != front[index - 1]:
            before = points[index - 1]
            part = (least - before[2]) / (point[2] - before[2])
            parts[-1].append(before + part * (point - before))
            if not front[index]:
                parts.append([])
        if front[index]:
            parts[-1].append(point)
    return [(line := np.array(part))[:, :2] / line[:, 2:] for part in parts if part]


def _turned(corners: np.ndarray, angle: float) -> np.ndarray:
    if not angle:
        return corners
    cosine, sine = math.cos(angle), math.sin(angle)
    return corners @ np.array([[cosine, sine], [-sine, cosine]])


def _from_rectangle(corners: np.ndarray, size: Size) -> np.ndarray:
    """The homography that brings (0, 0), (w, 0), (w, h), (0, h) to the corners (Heckbert 1989, 2.2.3)."""
    first, second, third, fourth = corners
    skew = first - second + third - fourth
    g, h = np.linalg.solve(np.stack([second - third, fourth - third], axis=1), skew)
    matrix = np.ones((3, 3))
    matrix[:2] = np.stack([second - first + g * second, fourth - first + h * fourth, first], axis=1)
    matrix[2, :2] = g, h
    # Division gives exactly 1 where the size stays.
    return matrix / (size[1], size[0], 1)


def _area(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
