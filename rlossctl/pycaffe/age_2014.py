"""What caffe.Net could do until the autumn of 2014: preprocessing, mode and phase were its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlossctl.errors import NetError
from rlossctl.net.pycaffe import Blob
from rlossctl.pycaffe import mode
from rlossctl.pycaffe.io import Transformer


class Net2014:
    """Methods of a net of that time. Images [H, W, C] become inputs [C, H, W], as its only way."""

    blobs: Mapping[str, Blob]
    inputs: list[str]
    phase: int
    _transformer: Transformer | None = None

    def set_phase_test(self) -> None:
        """Nothing for a net that was built for TEST, as `Net(model, weights)` does."""
        self._be(1, "TEST")

    def set_phase_train(self) -> None:
        """Nothing for a net that was built for TRAIN."""
        self._be(0, "TRAIN")

    def set_mode_cpu(self) -> None:
        """Of all nets: caffe.set_mode_cpu()."""
        mode.set_mode_cpu()

    def set_mode_gpu(self) -> None:
        """Of all nets: caffe.set_mode_gpu()."""
        mode.set_mode_gpu()

    def set_device(self, number: int) -> None:
        """Of all nets: caffe.set_device(number)."""
        mode.set_device(number)

    def set_mean(self, input_: str, mean: Any, mode: str = "elementwise") -> None:
        """What is subtracted: an array [C, H, W] or the .npy file of one; with mode="channel" its means."""
        array = np.load(mean) if isinstance(mean, str) else np.asarray(mean)
        self._prepared.set_mean(input_, array.mean((1, 2)) if mode == "channel" else array)

    def set_input_scale(self, input_: str, scale: float) -> None:
        """What is multiplied at the end."""
        self._prepared.set_input_scale(input_, scale)

    def set_raw_scale(self, input_: str, scale: float) -> None:
        """What is multiplied before the mean is subtracted."""
        self._prepared.set_raw_scale(input_, scale)

    def set_channel_swap(self, input_: str, order: Sequence[int]) -> None:
        """The order of the channels."""
        self._prepared.set_channel_swap(input_, order)

    def preprocess(self, input_name: str, input_: np.ndarray) -> np.ndarray:
        """An image [H, W, C] as an input [C, H, W]."""
        return self._prepared.preprocess(input_name, input_)

    def deprocess(self, input_name: str, input_: np.ndarray) -> np.ndarray:
        """The image of an input."""
        return self._prepared.deprocess(input_name, input_)

    @property
    def _prepared(self) -> Transformer:
        if self._transformer is None:
            self._transformer = Transformer({name: self.blobs[name].shape for name in self.inputs})
            for name in self.inputs:
                if len(self.blobs[name].shape) == 4:
                    self._transformer.set_transpose(name, (2, 0, 1))
        return self._transformer

    def _be(self, phase: int, name: str) -> None:
        if self.phase != phase:
            raise NetError(
                "a net's phase cannot be changed",
                found=f"set_phase_{name.lower()} of a net for the other phase",
                advice=f"build it for {name}: caffe.Net(model, weights, caffe.{name})",
            )
