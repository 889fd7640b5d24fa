"""Joins the class ids of a photo's tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rlossctl.evaluation.predicting.views import View


def joined(views: Sequence[View], answers: Iterable[np.ndarray]) -> np.ndarray:
    """One label map from the ids of its tiles; where tiles overlap, the one whose border
    inside the photo is farthest away.

    Args:
        views: the tiles, of one resized photo, without mirrored ones.
        answers: uint8 [h, w], ids of each view including its padding.

    Returns:
        uint8 [H, W] at the size of the resized photo.
    """
    labels = np.zeros(views[0].scaled, np.uint8)
    depth = np.full(views[0].scaled, -1, np.int32) if len(views) > 1 else None
    for view, ids in zip(views, answers, strict=True):
        rows, columns = view.keep
        if depth is None:
            return ids[:rows, :columns]
        place = np.s_[view.top : view.top + rows, view.left : view.left + columns]
        (height, width), top, left = view.scaled, view.top, view.left
        down, across = _inside(rows, top, height), _inside(columns, left, width)
        own = np.minimum.outer(down, across)
        deeper = own > depth[place]
        labels[place][deeper] = ids[:rows, :columns][deeper]
        depth[place][deeper] = own[deeper]
    return labels


def _inside(length: int, start: int, whole: int) -> np.ndarray:
    """Each position's distance from the nearer end of a tile; ends of the photo do not count."""
    places = np.arange(length, dtype=np.int32)
    before = places if start else np.full_like(places, whole)
    after = places[::-1] if start + length < whole else np.full_like(places, whole)
    return np.minimum(before, after)
