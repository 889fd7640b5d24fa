"""Random colours and blur of a crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlossctl.data.opencv import cv2

LUMA = np.array([0.114, 0.587, 0.299], np.float32)  # of blue, green and red: ITU-R 601


@dataclass(frozen=True)
class Colour:
    """Changes of colour as in torchvision's ColorJitter, in its usual order, then a Gaussian blur.

    Attributes:
        brightness, contrast, saturation: a factor is drawn from 1 - value to 1 + value, at least 0. It
            multiplies the pixels, their distance from the photo's mean grey, and from their own grey.
        hue: the hue turns by up to this share of a circle, in both directions.
        blur_sigma: the greatest deviation of the blur in pixels; it is drawn from 0 on.
        blur_probability: how often there is a blur.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur_sigma: float = 0.0
    blur_probability: float = 1.0

    def __call__(self, pixels: np.ndarray, grey: float, rng: np.random.Generator) -> np.ndarray:
        """Draws and applies the changes; what is not set draws nothing.

        Args:
            pixels: float32 [h, w, C], 0..255, blue first; they are overwritten.
            grey: the photo's mean grey, 0..255.

        Returns:
            float32 [h, w, C], 0..255.
        """
        if self.brightness:
            factor = _factor(self.brightness, rng)
            pixels *= factor
            pixels, grey = _clipped(pixels), min(grey * float(factor), 255.0)
        if self.contrast:
            factor = _factor(self.contrast, rng)
            pixels *= factor
            pixels += (1 - factor) * np.float32(grey)
            pixels = _clipped(pixels)
        if self.saturation:
            factor = _factor(self.saturation, rng)
            own = cv2.transform(pixels, (1 - factor) * LUMA[None])
            pixels *= factor
            pixels += own[:, :, None]
            pixels = _clipped(pixels)
        if self.hue:
            pixels = _turned(pixels, rng.uniform(-self.hue, self.hue))
        return self._blurred(pixels, rng)

    def _blurred(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not self.blur_sigma or (self.blur_probability < 1 and rng.random() >= self.blur_probability):
            return pixels
        sigma = rng.uniform(0, self.blur_sigma)
        if sigma == 0:  # OpenCV would take it for unset
            return pixels
        return cv2.GaussianBlur(pixels, (0, 0), sigma).reshape(pixels.shape)


def mean_grey(photo: np.ndarray) -> float:
    """The mean grey of a photo, uint8 [H, W, C], blue first."""
    means = cv2.mean(photo)[: photo.shape[2]]
    return float(np.dot(LUMA, means)) if len(means) == 3 else means[0]


def _factor(value: float, rng: np.random.Generator) -> np.float32:
    return np.float32(rng.uniform(max(0.0, 1 - value), 1 + value))


def _turned(pixels: np.ndarray, turn: float) -> np.ndarray:
    pixels *= np.float32(1 / 255)
    hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
    hsv[:, :, 0] += np.float32(360 * (turn % 1))
    hsv[:, :, 0][hsv[:, :, 0] >= 360] -= 360
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    turned *= np.float32(255)
    return _clipped(turned)


def _clipped(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels, 0, 255, out=pixels)
