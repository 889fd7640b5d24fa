"""What Classifier and Detector share: a net for TEST with a Transformer for its first input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlossctl.pycaffe.io import Transformer
from rlossctl.pycaffe.net import Net


class PreparedNet(Net):
    """A net that prepares its images.

    Attributes:
        transformer: prepares images for the first input.
    """

    def _prepare(
        self,
        mean: np.ndarray | None,
        input_scale: float | None,
        raw_scale: float | None,
        channel_swap: Sequence[int] | None,
    ) -> None:
        name = self.inputs[0]
        self.transformer = Transformer({name: self.blobs[name].data.shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)

    def _scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The first output for images [H, W, C], in batches of the net's size."""
        name = self.inputs[0]
        inputs: Any = np.stack([self.transformer.preprocess(name, image) for image in images])
        return self.forward_all(**{name: inputs})[self.outputs[0]]
