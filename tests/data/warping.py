"""The augmentation in float64 numpy, pixel by pixel from its definition: the oracle of its tests."""

from __future__ import annotations

import math

import numpy as np

LUMA = (0.114, 0.587, 0.299)


def corners_of(crop, photo, factor, rng, *, rotate=0.0, perspective=0.0, random=True):
    """Where a crop's corners (x, y) lie on the photo, edges of pixels at whole numbers."""
    height, width = crop
    angle = math.radians(rng.uniform(-rotate, rotate)) if rotate else 0.0
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    if perspective:
        most = perspective * min(crop) / 2
        corners = corners + [[rng.uniform(-most, most) for _ in "xy"] for _ in corners]
    x, y = corners.T / factor
    cosine, sine = math.cos(angle), math.sin(angle)
    moved = np.stack([x * cosine - y * sine, x * sine + y * cosine], 1)
    low, high = moved.min(0), moved.max(0)
    starts = {}
    for axis, side in ((1, photo[0]), (0, photo[1])):
        spare = side - (high - low)[axis]
        fits = random and spare > -1e-9
        starts[axis] = rng.integers(math.floor(spare + 1e-9) + 1) if fits else int(spare / 2)
    return moved - low + [starts[0], starts[1]]


def homography(corners, crop, flip):
    """The 3 x 3 matrix from the crop's (x, y) to the photo's, by eight linear equations."""
    height, width = crop
    ends = [(0, 0), (width, 0), (width, height), (0, height)]
    rows, values = [], []
    for (u, v), (x, y) in zip(ends, corners, strict=True):
        u = width - u if flip else u
        rows += [[u, v, 1, 0, 0, 0, -u * x, -v * x], [0, 0, 0, u, v, 1, -u * y, -v * y]]
        values += [x, y]
    return np.append(np.linalg.solve(np.array(rows, float), values), 1).reshape(3, 3)


def places(matrix, crop):
    """For each pixel of the crop, the photo's (x, y) below its centre; whole numbers are centres."""
    v, u = np.indices(crop) + 0.5
    x, y, w = np.tensordot(matrix, np.stack([u, v, np.ones(crop)]), 1)
    return x / w - 0.5, y / w - 0.5


def bilinear(photo, x, y):
    """Interpolation of [H, W, C]; beyond the photo its border is repeated."""
    rows, columns = photo.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = (x - left)[:, :, None], (y - top)[:, :, None]

    def at(row, column):
        return photo[row.clip(0, rows - 1), column.clip(0, columns - 1)].astype(np.float64)

    above = at(top, left) * (1 - across) + at(top, left + 1) * across
    below = at(top + 1, left) * (1 - across) + at(top + 1, left + 1) * across
    return above * (1 - down) + below * down


def nearest(label, x, y, outside):
    """The nearest pixel's id, and whether there is one."""
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    valid = (row >= 0) & (row < label.shape[0]) & (column >= 0) & (column < label.shape[1])
    return np.where(valid, label[row * valid, column * valid], outside), valid


def smoothed(photo, variance):
    """Three weights of this variance, or a Gaussian cut at three deviations; the border is repeated."""
    reach = (round(6 * math.sqrt(variance) + 1) | 1) // 2
    weights = np.exp(-0.5 * np.arange(-reach, reach + 1) ** 2 / variance)
    if variance < 0.5:
        reach, weights = 1, np.array([variance / 2, 1 - variance, variance / 2])
    weights /= weights.sum()
    padded = np.pad(photo.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    down = sum(weight * padded[k : k + photo.shape[0]] for k, weight in enumerate(weights))
    return sum(weight * down[:, k : k + photo.shape[1]] for k, weight in enumerate(weights))


def blurred(pixels, sigma):
    """Gaussian over [h, w, C], cut at four deviations; the border is mirrored, its last pixel once."""
    reach = (round(8 * sigma + 1) | 1) // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    down = sum(weight * padded[k : k + pixels.shape[0]] for k, weight in enumerate(weights))
    return sum(weight * down[:, k : k + pixels.shape[1]] for k, weight in enumerate(weights))


def area(corners):
    x, y = corners.T
    return abs(sum(x[i] * y[(i + 1) % 4] - x[(i + 1) % 4] * y[i] for i in range(4))) / 2


def turned_hue(pixels, turn):
    """The hue of [h, w, 3], 0..255, blue first, turned by a share of a circle; colorsys' formula."""
    import colorsys

    out = np.empty(pixels.shape)
    for place in np.ndindex(pixels.shape[:2]):
        blue, green, red = pixels[place] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        out[place] = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)[::-1]
    return out * 255
