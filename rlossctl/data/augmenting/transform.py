"""One sample through the warp, the colours and the normalization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlossctl.data.augmenting.colour import Colour, mean_grey
from rlossctl.data.augmenting.geometry import Geometry
from rlossctl.data.augmenting.resampling import inside, warped_label, warped_photo
from rlossctl.data.augmenting.strokes import Strokes
from rlossctl.data.seg_transform import SegTransform, Transformed


@dataclass(frozen=True)
class AugmentingTransform:
    """Photo and label warped once, then colours, blur and (pixel - mean) * scale / std.

    Attributes:
        plain: Caffe's fields.
        geometry: where the crop lies.
        colour: changes of colour, in phase TRAIN alone.
        antialias: whether to smooth a photo before it shrinks.
        fill: value of the padding, 0..255, as std; if empty, the mean.
    """

    plain: SegTransform
    geometry: Geometry
    colour: Colour
    antialias: bool = True
    fill: tuple[float, ...] = ()

    def __call__(
        self, image: np.ndarray, label: np.ndarray | Strokes, rng: np.random.Generator
    ) -> Transformed:
        """Transforms one sample; every random number comes from `rng`.

        They are drawn in this order: flip, scale, rotation, perspective (x and y of the crop's corners, from
        the top left clockwise), top, left, brightness, contrast, saturation, hue, whether to blur, and the
        blur's deviation.

        Args:
            image: uint8 [H, W, C], values 0..255, blue first.
            label: uint8 [H, W], or strokes.
        """
        photo = image.shape[0], image.shape[1]
        warp = self.geometry.draw(photo, rng)
        ignore = self.plain.ignore_label
        found = self.plain.empty(image.shape[2], warp.size)
        pixels = warped_photo(image, warp, antialias=self.antialias)
        if self.geometry.random:
            pixels = self._coloured(image, pixels, rng)
        self.plain.normalize(pixels, out=found.data)
        valid = inside(photo, warp)
        if not valid.all():
            self._pad(found.data, ~valid)
        found.valid[0] = valid
        if isinstance(label, Strokes):
            found.label[0] = label.drawn(photo, warp, valid, ignore)
        else:
            found.label[0] = warped_label(label, warp, ignore)
        return found

    def _coloured(self, image: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.colour == Colour():
            return pixels
        grey = mean_grey(image) if self.colour.contrast else 0.0
        return self.colour(pixels.astype(np.float32), grey, rng)

    def _pad(self, data: np.ndarray, outside: np.ndarray) -> None:
        """Fills the pixels of [C, h, w] that lie outside of the photo."""
        channels = len(data)
        fill = self.fill * channels if len(self.fill) == 1 else self.fill or self.plain.means(channels)
        value = np.empty((channels, 1, 1), np.float32)
        self.plain.normalize(np.array(fill, np.float32).reshape(1, 1, channels), out=value)
        for plane, padding in zip(data, value.ravel(), strict=True):
            plane[outside] = padding
