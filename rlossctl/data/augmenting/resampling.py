"""Photos, labels and their borders under a warp, by OpenCV."""

from __future__ import annotations

import math

import numpy as np

from rlossctl.data.augmenting.geometry import Warp
from rlossctl.data.opencv import cv2

LONGEST = 32766  # pixels of a side, in OpenCV's warps


def warped_photo(photo: np.ndarray, warp: Warp, *, antialias: bool = True) -> np.ndarray:
    """The crop, bilinear; beyond the photo its border is repeated.

    Args:
        photo: uint8 [H, W, C], no side above LONGEST.
        antialias: when it shrinks, smooth first by what Pillow's bilinear resizing smooths more than
            interpolation does.

    Returns:
        uint8 [h, w, C].
    """
    if antialias and warp.shrink > 1:
        photo = _smoothed(photo, warp.shrink)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    height, width = warp.size
    crop = cv2.warpPerspective(
        photo, warp.matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return crop.reshape(height, width, -1)


def warped_label(label: np.ndarray, warp: Warp, outside: int) -> np.ndarray:
    """The id of the nearest pixel, uint8 [h, w]; `outside` beyond the label, uint8 [H, W]."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    height, width = warp.size
    return cv2.warpPerspective(
        label, warp.matrix, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
    )


def inside(photo: tuple[int, ...], warp: Warp) -> np.ndarray:
    """Which pixels of the crop have their centre on a pixel of a photo [H, W], bool [h, w]."""
    height, width = warp.size
    corners = warp.matrix @ [[0, width - 1] * 2, [0, 0, height - 1, height - 1], [1] * 4]
    x, y = corners[:2] / corners[2]
    # A homography keeps what is convex: if the corners are inside, all is.
    if min(x.min(), y.min()) >= 0 and x.max() <= photo[1] - 1 and y.max() <= photo[0] - 1:
        return np.ones(warp.size, dtype=bool)
    return warped_label(np.ones(photo[:2], dtype=np.uint8), warp, 0).astype(bool)


def _smoothed(photo: np.ndarray, shrink: float) -> np.ndarray:
    """The photo smoothed for a warp that shrinks.

    Pillow's triangle has a variance of shrink^2 / 6 (in pixels), bilinear interpolation of 1 / 6: a Gaussian
    makes up the difference. At three pixels, a sampled Gaussian has less variance than its sigma says.
    """
    variance = (shrink**2 - 1) / 6
    size, sigma = (0, 0), math.sqrt(variance)
    if variance < 0.5:
        size, sigma = (3, 3), math.sqrt(-0.5 / math.log(variance / (2 - 2 * variance)))
    return cv2.GaussianBlur(photo, size, sigma, borderType=cv2.BORDER_REPLICATE).reshape(photo.shape)
