"""The source behind MemoryData: arrays that the calling program supplies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlossctl.data.sources.stream import Source, StreamOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rlossctl.prototxt.messages import LayerParameter


class MemorySource(Source):
    """Returns batches of the arrays given to `feed`, and starts again after the last
    (memory_data_layer.cpp). As in Caffe's Python interface, transform_param is not applied to them.

    Args:
        layer: a LayerParameter message of type MemoryData.
        where, seed, workers: see `Source`; nothing is drawn or decoded here.

    Raises:
        DataError: a size is 0.
    """

    def __init__(self, layer: LayerParameter, **options: Unpack[StreamOptions]) -> None:
        param = layer.memory_data_param
        super().__init__(layer, param.batch_size, **options)
        self.size = (param.channels, param.height, param.width)
        self._data = np.empty((0, *self.size), np.float32)
        self._labels = np.empty(0, np.float32)
        if 0 in self.size or len(self.tops) != 2:
            raise self.error(
                "incomplete",
                found=f"{len(self.tops)} tops, channels, height, width {self.size}",
                expected="tops data and label, and three sizes above 0 in memory_data_param",
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """data (N, C, H, W), label (N,)."""
        return dict(zip(self.tops, ((self.batch_size, *self.size), (self.batch_size,)), strict=True))

    def count(self) -> int:
        return len(self._data)

    def feed(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Sets the arrays for the next batches, which begin at their start (Caffe's `set_input_arrays`).

        Args:
            data: (M, C, H, W), any number type.
            labels: M values of any shape.

        Raises:
            DataError: other shapes, or M is not a multiple of the batch size.
        """
        data = np.asarray(data, dtype=np.float32)
        labels = np.asarray(labels, dtype=np.float32).reshape(-1)
        count = len(labels)
        if data.shape != (count, *self.size) or not count or count % self.batch_size:
            raise self.error(
                "the arrays do not fit",
                found=f"data {data.shape}, {count} labels",
                expected=f"data (M, {', '.join(map(str, self.size))}), M labels, M a multiple of "
                f"batch_size {self.batch_size}",
                advice="give arrays of these shapes",
            )
        self._data, self._labels, self.position = data, labels, 0

    def next_batch(self) -> list[np.ndarray]:
        """The next batch, float32 copies: data (N, C, H, W), label (N,).

        Raises:
            DataError: nothing was fed.
        """
        if not self.count():
            raise self.error(
                "has no data",
                found="nothing was fed",
                expected="arrays in memory",
                advice=f"call net.sources[{self.name!r}].feed(data, labels), or give its tops to the net",
            )
        start = self.position % self.count()
        self.position += self.batch_size
        rows = slice(start, start + self.batch_size)
        return [self._data[rows].copy(), self._labels[rows].copy()]
