"""Resizing: the two OpenCV methods that Caffe's data layers use, by OpenCV; and Pillow's, which smooths."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rlossctl.data.opencv import cv2


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """cv::resize(INTER_LINEAR): half-pixel centres, no antialiasing, bytes in OpenCV's fixed-point numbers.

    Args:
        image: uint8 [H, W] or [H, W, C].

    Returns:
        uint8 [height, width] or [height, width, C].
    """
    return _resize(image, height, width, cv2.INTER_LINEAR)


def resize_nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """cv::resize(INTER_NEAREST): source index = floor(target index * source size / target size)."""
    return _resize(image, height, width, cv2.INTER_NEAREST)


def resize_smoothly(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pillow's bilinear resizing of uint8 [H, W, C], which averages over all pixels when it shrinks."""
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_nearest_centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixel whose area holds the target pixel's centre, as Pillow resizes labels; [H, W] of any type."""
    rows, columns = (
        np.floor((np.arange(target) + 0.5) * (size / target)).astype(np.int64).clip(max=size - 1)
        for size, target in zip(image.shape[:2], (height, width), strict=True)
    )
    return image[rows[:, None], columns]


def _resize(image: np.ndarray, height: int, width: int, method: int) -> np.ndarray:
    # OpenCV copies where the size stays, and drops the axis of a single channel.
    resized = cv2.resize(image, (width, height), interpolation=method)
    return resized.reshape(height, width, *image.shape[2:])
