"""Boundary IoU (Cheng et al., CVPR 2021): IoU of the bands along the inside of the contours.

A mask's band is the part that erosion by a square of 2 d + 1 pixels removes. Everything outside the image
counts as outside the mask, and d = ratio * diagonal of the image, rounded, at least 1. The authors erode d
times by a 3x3 square, which gives the same; here all classes of a label map are eroded at once.

Ignored pixels belong neither to the true masks nor to the predicted ones, so both bands follow the border of
the ignored region in the same way. Counts are summed over the set, as for mIoU.
"""

from __future__ import annotations

import math

import numpy as np

from rlossctl.counts import VOID, ClassCounts, byte_pairs


def width(size: tuple[int, int], ratio: float) -> int:
    """The band's width in pixels for an image of (height, width)."""
    return max(1, round(ratio * math.hypot(*size)))


def count_labels(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int, ignore: int, ratio: float
) -> ClassCounts:
    """The band pixels of one image, per class.

    Args:
        truth, prediction: uint8 [H, W]; ids from `num_classes` on do not belong to a mask.
        ratio: the band's width as a share of the diagonal, 0.02 in the paper.
    """
    ignored = truth == ignore
    distance = width(truth.shape, ratio)
    bands = []
    for ids in (truth, prediction):
        shown = np.where(ignored, VOID, ids).astype(np.uint8)
        bands.append(np.where(_is_band(shown, distance), shown, VOID).astype(np.uint8))
    pairs = byte_pairs(*bands)
    classes = np.arange(num_classes)
    return ClassCounts(
        pairs[classes, classes], pairs.sum(axis=1)[:num_classes], pairs.sum(axis=0)[:num_classes]
    )


def count_masks(truth: np.ndarray, masks: np.ndarray, ignore: int, ratio: float) -> ClassCounts:
    """Like `count_labels`, for masks, bool [C, H, W], that may overlap."""
    valid = truth != ignore
    distance = width(truth.shape, ratio)
    rows = []
    for index, mask in enumerate(masks):
        true_band = _is_band((truth == index).view(np.uint8), distance) & (truth == index)
        shown = mask & valid
        predicted_band = _is_band(shown.view(np.uint8), distance) & shown
        rows.append([(true_band & predicted_band).sum(), true_band.sum(), predicted_band.sum()])
    return ClassCounts(*np.array(rows, dtype=np.int64).T)


def _is_band(ids: np.ndarray, distance: int) -> np.ndarray:
    """Where the square of 2 d + 1 pixels around a pixel contains another id or leaves the image."""
    out = np.ones(ids.shape, bool)
    if min(ids.shape) > 2 * distance:
        inner = slice(distance, -distance), slice(distance, -distance)
        out[inner] = _slide(ids, distance, np.minimum) != _slide(ids, distance, np.maximum)
    return out


def _slide(ids: np.ndarray, distance: int, extreme: np.ufunc) -> np.ndarray:
    """The least or greatest value of each square inside the image: [H - 2 d, W - 2 d]."""
    for _ in range(2):
        window, length = ids, 1
        while 2 * length <= 2 * distance + 1:  # a window of 2 L from two of L
            window, length = extreme(window[:-length], window[length:]), 2 * length
        rest = 2 * distance + 1 - length
        window = extreme(window[:-rest], window[rest:]) if rest else window
        ids = window.T
    return ids
