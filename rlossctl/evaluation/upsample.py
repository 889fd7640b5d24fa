"""Bilinear enlargement of score maps with corners aligned, as Caffe's Interp layer does it."""

from __future__ import annotations

import numpy as np


def upsample(scores: np.ndarray, size: tuple[int, int], keep: tuple[int, int] | None = None) -> np.ndarray:
    """Interp (zoom or height/width) in numpy, so that evaluating an ONNX file needs no torch.

    Args:
        scores: float32 [N, C, h, w].
        size: (H, W) to enlarge (or shrink) to.
        keep: compute only the first (rows, columns) of the result; all by default.

    Returns:
        float32 [N, C, *keep]; `scores` itself, cut, where the size is already right.
    """
    rows, columns = keep or size
    if scores.shape[2:] == tuple(size):
        return scores[:, :, :rows, :columns]
    top, down = _positions(scores.shape[2], size[0], rows)
    left, right = _positions(scores.shape[3], size[1], columns)
    below = np.minimum(top + 1, scores.shape[2] - 1)
    beside = np.minimum(left + 1, scores.shape[3] - 1)
    # Rows first: each intermediate keeps the small width until the last step.
    tall = scores[:, :, top] * (1 - down)[:, None] + scores[:, :, below] * down[:, None]
    return tall[:, :, :, left] * (1 - right) + tall[:, :, :, beside] * right


def _positions(source: int, target: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Source index and float32 weight of the next one for the first `count` of `target` positions."""
    ratio = np.float32((source - 1) / (target - 1)) if target > 1 else np.float32(0)
    position = np.arange(count, dtype=np.float32) * ratio
    index = np.minimum(position.astype(np.int64), source - 1)
    return index, position - index.astype(np.float32)
