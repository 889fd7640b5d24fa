"""caffe.classifier: classes of photos (python/caffe/classifier.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlossctl.net.pycaffe import TEST
from rlossctl.pycaffe import io
from rlossctl.pycaffe.preprocessing import PreparedNet


class Classifier(PreparedNet):
    """A net that classifies photos.

    Args:
        model_file, pretrained_file: prototxt and caffemodel.
        image_dims: height and width to which photos are resized before they are cropped; the net's own size
            by default.
        mean, input_scale, raw_scale, channel_swap: of the Transformer.
    """

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self._prepare(mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """Probabilities (N, classes) of N photos [H, W, C], as `caffe.io.load_image` gives them.

        Args:
            oversample: the mean over the corners, the centre and their mirror images, not the centre alone.
        """
        photos = [io.resize_image(photo, self.image_dims) for photo in inputs]
        if oversample:
            scores = self._scores(list(io.oversample(photos, self.crop_dims)))
            return scores.reshape(len(photos), 10, -1).mean(1)
        corner = (np.array(self.image_dims) / 2.0 - self.crop_dims / 2.0).astype(int)
        rows, columns = (slice(at, at + size) for at, size in zip(corner, self.crop_dims, strict=True))
        return self._scores([photo[rows, columns] for photo in photos])
