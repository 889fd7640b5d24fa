"""Bilinear resizing of score maps in numpy, so that an ONNX file can be evaluated without torch."""

from __future__ import annotations

import numpy as np


def upsample(
    scores: np.ndarray,
    size: tuple[int, int],
    keep: tuple[int, int] | None = None,
    *,
    corners: bool = True,
) -> np.ndarray:
    """Resizes bilinearly, by default with corners aligned, like Caffe's Interp (zoom or height/width).

    Args:
        scores: float32 [N, C, h, w].
        size: (H, W) to enlarge (or shrink) to.
        keep: compute only the first (rows, columns) of the result; all by default.
        corners: align the corner pixels' centres; False aligns the images' edges, as OpenCV and PIL do, which
            maps the scores of a resized photo back to the photo's own pixels.

    Returns:
        float32 [N, C, *keep]; a slice of `scores` if the size is already right.
    """
    rows, columns = keep or size
    if scores.shape[2:] == tuple(size):
        return scores[:, :, :rows, :columns]
    positions = aligned if corners else _centred
    top, down = positions(scores.shape[2], size[0], rows)
    left, right = positions(scores.shape[3], size[1], columns)
    below = np.minimum(top + 1, scores.shape[2] - 1)
    beside = np.minimum(left + 1, scores.shape[3] - 1)
    # Rows first: each intermediate keeps the small width until the last step.
    tall = scores[:, :, top] * (1 - down)[:, None] + scores[:, :, below] * down[:, None]
    return tall[:, :, :, left] * (1 - right) + tall[:, :, :, beside] * right


def aligned(given: int, wanted: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For the first `count` of `wanted` positions: the index before, and the next one's float32 weight."""
    ratio = np.float32((given - 1) / (wanted - 1)) if wanted > 1 else np.float32(0)
    position = np.arange(count, dtype=np.float32) * ratio
    index = np.minimum(position.astype(np.int64), given - 1)
    return index, position - index.astype(np.float32)


def _centred(given: int, wanted: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As `aligned`, but pixels are areas, with centres half a pixel inside the edges."""
    position = (np.arange(count) + 0.5) * (given / wanted) - 0.5
    position = np.clip(position, 0, given - 1).astype(np.float32)
    index = position.astype(np.int64)
    return index, position - index.astype(np.float32)
