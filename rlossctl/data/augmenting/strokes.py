"""Strokes and clicks that move with their photo as points and are drawn into the crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlossctl.data.augmenting.geometry import Warp, in_sight
from rlossctl.data.weak.annotations import Stroke
from rlossctl.data.weak.raster import draw_line, on_photo, shorten


@dataclass(frozen=True)
class Strokes:
    """The supervision of a photo.

    Attributes:
        strokes: later ones cover earlier ones.
        width: of the round brush, in pixels of the crop.
        ratio: share of each stroke's length to keep, around its middle, in (0, 1].
    """

    strokes: Sequence[Stroke]
    width: int = 1
    ratio: float = 1.0

    def drawn(self, photo: tuple[int, int], warp: Warp, valid: np.ndarray, ignore: int) -> np.ndarray:
        """The crop's label, uint8 [h, w]: class ids on the strokes and `ignore` elsewhere.

        A click outside of the photo is left out, and a line is cut at the photo's border.

        Args:
            photo: its (height, width).
            valid: bool [h, w], where the crop shows the photo.
        """
        canvas = np.full(warp.size, ignore, dtype=np.uint8)
        for stroke in self.strokes:
            points = on_photo(stroke.points, photo)
            if points is not None:
                for line in in_sight(warp.to_crop(shorten(points, self.ratio))):
                    draw_line(canvas, line, self.width, stroke.label)
        canvas[~valid] = ignore
        return canvas
