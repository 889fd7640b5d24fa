"""caffe.detector: classes of windows of photos, as in R-CNN (python/caffe/detector.py)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rlossctl.net.pycaffe import TEST
from rlossctl.pycaffe import io
from rlossctl.pycaffe.preprocessing import PreparedNet

Window = Sequence[float] | np.ndarray  # ymin, xmin, ymax, xmax


class Detector(PreparedNet):
    """A net that classifies windows, each warped to the size of the net's input.

    Args:
        model_file, pretrained_file: prototxt and caffemodel.
        mean, input_scale, raw_scale, channel_swap: of the Transformer.
        context_pad: pixels of the net's input around the window that show what surrounds it.
    """

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self._prepare(mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[Any, Iterable[Window]]]) -> list[dict[str, Any]]:
        """Classifies windows of photos.

        Args:
            images_windows: (file name, windows) for each photo.

        Returns:
            A dict for each window: "window", "prediction" (the scores), "filename".
        """
        photos = [(name, [np.asarray(window) for window in windows]) for name, windows in images_windows]
        crops = []
        for name, windows in photos:
            photo = io.load_image(name)
            crops += [self.crop(photo, window) for window in windows]
        scores = iter(self._scores(crops))
        return [
            {"window": window, "prediction": next(scores), "filename": name}
            for name, windows in photos
            for window in windows
        ]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """`detect_windows` with the windows that the package selective_search_ijcv_with_python proposes."""
        import selective_search_ijcv_with_python as selective_search  # type: ignore[import-not-found]

        names = [os.path.abspath(name) for name in image_fnames]
        return self.detect_windows(zip(names, selective_search.get_windows(names), strict=True))

    def crop(self, im: np.ndarray, window: Window) -> np.ndarray:
        """A window of an image [H, W, C]; with context_pad as large as the net's input, with its context."""
        top, left, bottom, right = (int(value) for value in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        return self._with_context(im, np.asarray(window, dtype=float), self.context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Sets context_pad, and what lies beyond a photo: the mean, as a photo is before preprocessing."""
        name, set_by = self.inputs[0], self.transformer
        back = np.argsort(set_by.transpose[name])
        self.context_pad = context_pad
        self.crop_dims = np.array(self.blobs[name].data.shape[1:])[back]
        self.crop_mean = np.zeros(self.crop_dims, dtype=np.float32)
        if name in set_by.mean:
            mean = set_by.mean[name].transpose(back)
            if name in set_by.channel_swap:
                mean = mean[:, :, np.argsort(set_by.channel_swap[name])]
            self.crop_mean = self.crop_mean + mean / set_by.raw_scale.get(name, 1)

    def _with_context(self, im: np.ndarray, window: np.ndarray, pad: int) -> np.ndarray:
        """The window grown about its centre until it has context_pad on each side in the net's input.

        Caffe's rounding: sizes count one pixel more than is cut out, and the input is taken as square.
        """
        side = self.blobs[self.inputs[0]].width
        half = (window[2:] - window[:2] + 1) / 2.0
        grown = side / (side - pad * 2.0) * half
        centre = window[:2] + half
        low, high = np.round(centre - grown), np.round(centre + grown)
        scale = side / (high - low + 1)
        first = np.round(np.maximum(0, -low) * scale).astype(int)
        limit = np.array(im.shape[:2])
        low, high = np.clip(low, 0, limit).astype(int), np.clip(high, 0, limit).astype(int)
        size = np.minimum(np.round((high - low + 1) * scale).astype(int), side - first)
        found = self.crop_mean.astype(np.float32)
        part = im[low[0] : high[0], low[1] : high[1]]
        found[first[0] : first[0] + size[0], first[1] : first[1] + size[1]] = io.resize_image(part, size)
        return found
