"""OpenCV's two ways of resizing bytes, in numpy: what its fixed-point arithmetic gives, bit for bit."""

from __future__ import annotations

import numpy as np

# OpenCV's INTER_RESIZE_COEF_SCALE: weights for uint8 images are 11-bit integers.
_ONE = 2048


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """cv::resize(INTER_LINEAR) of uint8: half-pixel centres, no antialiasing, OpenCV's fixed-point rounding.

    Args:
        image: uint8 [H, W] or [H, W, C].

    Returns:
        uint8 [height, width] or [height, width, C].
    """
    rows, columns = image.shape[:2]
    if (height, width) == (rows, columns):
        return image.copy()
    extra = (1,) * (image.ndim - 2)
    left, right, w_left, w_right = _taps(columns, width, plain_border=True)
    # Vertically, OpenCV blends the border row with itself, which rounds differently from copying it.
    top, bottom, w_top, w_bottom = _taps(rows, height, plain_border=False)
    source = image.astype(np.int32)
    across = source[:, left] * w_left.reshape(1, -1, *extra) + source[:, right] * w_right.reshape(
        1, -1, *extra
    )
    # VResizeLinear<uchar> drops 4 bits before the vertical weights and 16 after, and rounds the last 2.
    across >>= 4
    down = (across[top] * w_top.reshape(-1, 1, *extra)) >> 16
    down += (across[bottom] * w_bottom.reshape(-1, 1, *extra)) >> 16
    return ((down + 2) >> 2).astype(np.uint8)


def resize_nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """cv::resize(INTER_NEAREST): source index = floor(target index * source size / target size)."""
    rows = _nearest(image.shape[0], height)
    columns = _nearest(image.shape[1], width)
    return image[rows[:, None], columns]


def _taps(
    size: int, target: int, *, plain_border: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First and second source index and their integer weights for each target index along one axis."""
    scale = 1.0 / (target / size)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    if plain_border:
        fraction[(first < 0) | (first >= size - 1)] = 0.0
    second = np.clip(first + 1, 0, size - 1)
    first = np.clip(first, 0, size - 1)
    weights = [np.rint(part * np.float32(_ONE)).astype(np.int32) for part in (1 - fraction, fraction)]
    return first, second, weights[0], weights[1]


def _nearest(size: int, target: int) -> np.ndarray:
    inverse = 1.0 / (target / size)
    return np.minimum(np.floor(np.arange(target) * inverse).astype(np.int64), size - 1)
