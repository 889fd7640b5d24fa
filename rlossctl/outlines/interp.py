"""Interp: its rules for sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup, Shape, Top
from rlossctl.net.registry import describe


@describe("Interp", source="rloss", bottoms=(1, 2))
class InterpOutline(Outline):
    """See `rlossctl.layers.interp.Interp`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.interp_param
        self.begin, self.end = -param.pad_beg, -param.pad_end
        if self.begin < 0 or self.end < 0:
            raise setup.error(
                "pads can only crop",
                found=f"pad_beg {param.pad_beg}, pad_end {param.pad_end}",
                expected="<= 0",
            )
        if param.interp_type != "bilinear":
            raise setup.error(
                "interp_type is not available", found=param.interp_type, expected="bilinear, PSPNet's default"
            )
        self.corners = param.align_corners
        self.shrink = param.shrink_factor if param.HasField("shrink_factor") else None
        self.zoom = param.zoom_factor if param.HasField("zoom_factor") else None
        self.size = (
            (param.height, param.width) if param.HasField("height") and param.HasField("width") else None
        )
        self.factor = param.factor if param.HasField("factor") else None
        self.rounds_size = self.factor is not None
        self.least = param.at_least
        every = (self.shrink, self.zoom, self.size, self.factor)
        rules: list[object] = [value for value in every if value is not None]
        if self.factor is not None and (len(rules) > 1 or not 0 < self.factor < math.inf):
            raise setup.error("factor must be positive, and the only size", found=rules)
        if len(setup.bottoms) == 2:
            self._check_reference(setup, rules)
        elif not rules:
            raise setup.error(
                "needs shrink_factor, zoom_factor, factor, height and width, or a second bottom"
            )
        elif not self.corners and rules != [self.size]:
            raise setup.error("align_corners: false needs height and width, or a second bottom")
        if any(value is not None and value < 1 for value in (self.shrink, self.zoom)):
            raise setup.error("factors must be positive", found=f"shrink {self.shrink}, zoom {self.zoom}")

    def _check_reference(self, setup: Setup, rules: list[object]) -> None:
        if rules:
            raise setup.error(
                "already has a size, from its second bottom", found=rules, expected="no size of its own"
            )
        if any(len(shape) != 4 for shape in setup.bottoms):
            raise setup.error("needs 4-D bottoms", found=setup.bottoms)

    def output_size(self, size: int, axis: int) -> int:
        """Output size of an effective (cropped) input size along height (0) or width (1)."""
        if self.factor is not None:
            return max(self.least, math.ceil(size * self.factor))
        if self.size is not None and self.shrink is None and self.zoom is None:
            return self.size[axis]
        if self.shrink is not None:
            size = (size - 1) // self.shrink + 1
        return size + (size - 1) * (self.zoom - 1) if self.zoom is not None else size

    def window(self) -> tuple[float, float]:
        if self.factor is not None:
            return 2.0, 1 / self.factor
        if self.shrink is None and self.zoom is None:
            size = self.setup.bottoms[1][3] if self.size is None else self.size[1]
            return 1.0, (self.setup.bottoms[0][3] - 1) / max(1, size - 1)
        step = (self.shrink or 1) / (self.zoom or 1)
        return (2.0 if self.zoom else 1.0), step

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        bottom, *reference = bottoms
        if any(len(shape) != 4 for shape in bottoms):
            return None
        cropped = [size - self.begin - self.end for size in bottom[2:]]
        sizes = (
            reference[0][2:] if reference else [self.output_size(n, axis) for axis, n in enumerate(cropped)]
        )
        return (Top((*bottom[:2], *sizes)),) if min(*cropped, *sizes) > 0 else None
