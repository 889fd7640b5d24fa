"""ArgMax: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe


@describe("ArgMax", gradient=False)
class ArgMaxOutline(Outline):
    """See `rlossctl.layers.indexing.ArgMax`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, shape = setup.message.argmax_param, setup.bottoms[0]
        self.values, self.top_k = param.out_max_val, param.top_k
        self.axis = canonical_axis(setup, param.axis, len(shape)) if param.HasField("axis") else None
        count = 1
        for size in shape[1:] if self.axis is None else shape[self.axis : self.axis + 1]:
            count *= size
        if not 1 <= self.top_k <= count:
            raise setup.error("top_k out of range", found=self.top_k, expected=f"1 to {count}")

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        (bottom,) = bottoms
        if len(bottom) != len(self.setup.bottoms[0]):
            return None
        if self.axis is not None:
            return (Top((*bottom[: self.axis], self.top_k, *bottom[self.axis + 1 :])),)
        return (Top((bottom[0], 1 + self.values, self.top_k, *(1,) * (len(bottom) - 3))),)
