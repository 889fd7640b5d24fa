"""Layers that fill blobs from outside: Input, DummyData and ImageSegData."""

from __future__ import annotations

import numpy as np
import torch

from rlossctl.net.fillers import fill
from rlossctl.net.layer import DataLayer, Setup, Shape, SourceLayer
from rlossctl.net.outline import Filler
from rlossctl.net.registry import computes, register
from rlossctl.outlines.data import ImageSegDataOutline, InputOutline, stated_shapes


@computes("Input")
class Input(InputOutline, DataLayer):
    """Blobs that the caller feeds; input_param gives one shape for all tops, or one per top."""


@register("DummyData", bottoms=0, tops=(1, None), role="data")
class DummyData(DataLayer):
    """Filled blobs; constant fillers run once, the others in every pass (dummy_data_layer.cpp)."""

    source: DummySource

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.dummy_data_param
        sizes = [tuple(shape.dim) for shape in param.shape] or list(
            zip(param.num, param.channels, param.height, param.width, strict=False)
        )
        self.sizes = stated_shapes(setup, sizes)
        fillers: list[Filler] = list(param.data_filler) or [None]
        if len(fillers) not in (1, setup.tops):
            raise setup.error("data_filler must be given once or once per top", found=len(fillers))
        fillers = fillers * setup.tops if len(fillers) == 1 else fillers
        self.source = DummySource(self.sizes, fillers, setup.where)

    def shapes(self) -> list[Shape]:
        return self.sizes


class DummySource:
    """Fills the tops of a DummyData layer.

    Attributes:
        constant: for each top, whether it is filled once, with a constant.
    """

    def __init__(self, shapes: list[Shape], fillers: list[Filler], where: str) -> None:
        self._shapes, self._fillers, self._where = shapes, fillers, where
        self.constant = [getattr(filler, "type", "constant") == "constant" for filler in fillers]

    def next_batch(self) -> list[np.ndarray]:
        """One float32 array per top, from torch's global generator."""
        return [self.filled(top) for top in range(len(self._shapes))]

    def filled(self, top: int) -> np.ndarray:
        """The array of one top."""
        blob = torch.empty(self._shapes[top])
        fill(blob, self._fillers[top], self._where)
        return blob.numpy()

    def state(self) -> dict[str, object]:
        """Empty: torch's generator is the only state."""
        return {}

    def restore(self, state: dict[str, object]) -> None:
        """Nothing to restore."""


@computes("ImageSegData")
class ImageSegData(ImageSegDataOutline, SourceLayer):
    """Images with label images from a list file (image_seg_data_layer.cpp): data, label, data_dim; and valid.

    data: (N, 3, h, w) BGR minus mean_value; label: (N, 1, h, w); data_dim: (N, 1, 1, 2) height and width
    before padding. A fourth top, ours: (N, 1, h, w), 1 inside the photo and 0 in the padding.
    rlossctl.data.seg_transform has the order of operations; with fields of ours (docs/data.md)
    rlossctl.data.augmenting.transform has it. The caller's options (seed, workers, source, root) override the
    prototxt.
    """
