"""Input and ImageSegData: shapes of what comes from outside."""

from __future__ import annotations

from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.net.outline import DataOutline, Setup, Shape, SourceOutline, read_options
from rlossctl.net.registry import describe


@describe("Input", bottoms=0, tops=(1, None), role="data")
class InputOutline(DataOutline):
    """See `rlossctl.layers.data.Input`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.sizes = stated_shapes(setup, [tuple(shape.dim) for shape in setup.message.input_param.shape])

    def shapes(self) -> list[Shape]:
        return self.sizes


@describe("ImageSegData", source="rloss", bottoms=0, tops=(1, 4), role="data")
class ImageSegDataOutline(SourceOutline):
    """See `rlossctl.layers.data.ImageSegData`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = ImageSegSource(setup.message, setup.phase, **read_options(setup))


def stated_shapes(setup: Setup, shapes: list[Shape]) -> list[Shape]:
    """One shape for every top, from one for all or one for each."""
    if len(shapes) not in (1, setup.tops):
        raise setup.error("needs one shape, or one per top", found=len(shapes), expected=f"1 or {setup.tops}")
    if any(size < 0 for shape in shapes for size in shape):
        raise setup.error("has a negative size", found=shapes)
    return shapes * setup.tops if len(shapes) == 1 else shapes
