"""Photos, labels and their borders under a warp, by OpenCV."""

from __future__ import annotations

import math

import numpy as np

from rlossctl.data.augmenting.geometry import Warp
from rlossctl.data.opencv import cv2
from rlossctl.errors import DataError

_LONGEST = 32766  # pixels of a side, in OpenCV's warps


def warped_photo(photo: np.ndarray, warp: Warp, *, antialias: bool = True) -> np.ndarray:
    """The crop, bilinear; beyond the photo its border is repeated.

    Args:
        photo: uint8 [H, W, C].
        antialias: when it shrinks, smooth first by what Pillow's bilinear resizing smooths more than
            interpolation does.

    Returns:
        uint8 [h, w, C].

    Raises:
        DataError: a side of the photo is too long for OpenCV.
    """
    if max(photo.shape[:2]) > _LONGEST:
        raise DataError(
            "the photo is too large to be warped",
            found=f"{photo.shape[1]}x{photo.shape[0]} (width x height)",
            expected=f"sides of at most {_LONGEST} pixels",
            advice="make it smaller",
        )
    matrix = warp.matrix
    if antialias and warp.shrink > 1:
        photo, matrix = _smoothed(photo, warp)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    height, width = warp.size
    crop = cv2.warpPerspective(photo, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
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


def _smoothed(photo: np.ndarray, warp: Warp) -> tuple[np.ndarray, np.ndarray]:
    """The photo smoothed for a warp that shrinks, and the warp's matrix for it.

    Pillow's triangle has variance shrink^2 / 6 (in pixels), bilinear interpolation 1 / 6; a Gaussian makes up
    the difference. A strong shrink begins with means over squares, of variance (side^2 - 1) / 12.
    """
    square = warp.shrink**2
    side = max(1, math.floor(math.sqrt(2 / 3 * square + 1 / 3)))
    variance = (square / 6 - (side**2 - 1) / 12) / side**2 - 1 / 6
    matrix = warp.matrix
    if side > 1:
        rows, columns = photo.shape[:2]
        height, width = max(1, round(rows / side)), max(1, round(columns / side))
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
        x, y = width / columns, height / rows
        matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ matrix
    if variance > 0:
        sigma = math.sqrt(variance)
        photo = cv2.GaussianBlur(photo, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).reshape(photo.shape)
    return photo, matrix
