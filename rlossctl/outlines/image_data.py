"""Layers that read lists of image files: their sources."""

from __future__ import annotations

from rlossctl.data.sources.imagelist import DenseImageSource, ImageSource
from rlossctl.data.sources.labelmap import LabelmapSource
from rlossctl.data.sources.windows import WindowSource
from rlossctl.net.outline import Setup, SourceOutline, read_options
from rlossctl.net.registry import describe


@describe("ImageData", bottoms=0, tops=2, role="data")
class ImageDataOutline(SourceOutline):
    """See `rlossctl.layers.image_data.ImageData`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = ImageSource(
            setup.message, setup.phase, spaces_in_names=setup.dialect == "bvlc", **read_options(setup)
        )


@describe("DenseImageData", source="SegNet", bottoms=0, tops=2, role="data")
class DenseImageDataOutline(SourceOutline):
    """See `rlossctl.layers.image_data.DenseImageData`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = DenseImageSource(setup.message, setup.phase, **read_options(setup))


@describe("ImageLabelmapData", source="HED", bottoms=0, tops=2, role="data")
class ImageLabelmapDataOutline(SourceOutline):
    """See `rlossctl.layers.image_data.ImageLabelmapData`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = LabelmapSource(setup.message, setup.phase, **read_options(setup))


@describe("WindowData", bottoms=0, tops=2, role="data")
class WindowDataOutline(SourceOutline):
    """See `rlossctl.layers.image_data.WindowData`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = WindowSource(setup.message, setup.phase, **read_options(setup))
