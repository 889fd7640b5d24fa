"""Strokes and clicks that move with their photo as points and are drawn into the crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlossctl.data.augmenting.geometry import Warp, in_sight
from rlossctl.data.weak.annotations import Stroke
from rlossctl.data.weak.raster import draw_line, fill, on_photo, shorten
from rlossctl.data.weak.scribble import UNLABELLED


@dataclass(frozen=True)
class Strokes:
    """The supervision of a photo.

    Attributes:
        strokes: later ones cover earlier ones.
        width: of the round brush, in pixels of the crop, of strokes that have none of their own; the latter
            grow and shrink with the photo.
        ratio: share of each stroke's length to keep, around its middle, in (0, 1].
    """

    strokes: Sequence[Stroke]
    width: int = 1
    ratio: float = 1.0

    def drawn(self, photo: tuple[int, int], warp: Warp, valid: np.ndarray, ignore: int) -> np.ndarray:
        """The crop's label, uint8 [h, w]: class ids on the strokes and `ignore` elsewhere.

        A click outside of the photo is left out, and a line or area is cut at the photo's border.

        Args:
            photo: its (height, width).
            valid: bool [h, w], where the crop shows the photo.
        """
        canvas = np.full(warp.size, ignore, dtype=np.uint8)
        for stroke in self.strokes:
            self._draw(stroke, photo, warp, canvas, ignore)
        canvas[~valid] = ignore
        return canvas

    def _draw(
        self, stroke: Stroke, photo: tuple[int, int], warp: Warp, canvas: np.ndarray, ignore: int
    ) -> None:
        label = ignore if stroke.label == UNLABELLED else stroke.label
        if stroke.filled:
            outline = in_sight(warp.to_crop(np.concatenate([stroke.points, stroke.points[:1]])))
            if outline:
                fill(canvas, [np.concatenate(outline)[:, ::-1] + 0.5], label)
            return
        width = self.width if stroke.width is None else max(1, round(stroke.width / warp.shrink))
        points = on_photo(stroke.points, photo)
        if points is not None:
            for line in in_sight(warp.to_crop(shorten(points, self.ratio))):
                draw_line(canvas, line, width, label)
