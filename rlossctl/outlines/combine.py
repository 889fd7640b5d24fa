"""Eltwise, Concat, Silence and Axpy: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup, Shape, Top
from rlossctl.net.registry import describe


@describe("Eltwise", bottoms=(2, None))
class EltwiseOutline(Outline):
    """See `rlossctl.layers.combine.Eltwise`."""

    keeps_shape = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.eltwise_param
        self.operation = param.EltwiseOp.Name(param.operation)
        self.coefficients = list(param.coeff)
        if len(set(setup.bottoms)) != 1:
            raise setup.error("bottoms must have the same shape", found=list(setup.bottoms))
        if self.coefficients and (self.operation == "PROD" or len(self.coefficients) != len(setup.bottoms)):
            raise setup.error(
                "coeff must be given once per bottom, but not for PROD",
                found=f"{len(self.coefficients)} coefficients, {len(setup.bottoms)} bottoms",
            )


@describe("Concat", bottoms=(1, None))
class ConcatOutline(Outline):
    """See `rlossctl.layers.combine.Concat`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.concat_param
        if param.HasField("axis") and param.HasField("concat_dim"):
            raise setup.error("sets both axis and concat_dim", expected="axis alone")
        self.axis = param.concat_dim if param.HasField("concat_dim") else param.axis

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        first, axis = bottoms[0], self.axis
        if not -len(first) <= axis < len(first):
            return None
        if len({(len(shape), *shape[:axis], *shape[axis:][1:]) for shape in bottoms}) != 1:
            return None
        joined = sum(shape[axis] for shape in bottoms)
        return (Top((*first[:axis], joined, *first[axis:][1:])),)


@describe("Silence", bottoms=(1, None), tops=0)
class SilenceOutline(Outline):
    """See `rlossctl.layers.combine.Silence`."""

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return ()


@describe("Axpy", source="SENet", bottoms=3)
class AxpyOutline(Outline):
    """See `rlossctl.layers.combine.Axpy`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        factor, x, y = setup.bottoms
        if len(x) != 4 or y != x or tuple(factor) not in ((*x[:2], 1, 1), tuple(x[:2])):
            raise setup.error(
                "needs a value per channel and two blobs of the same size",
                found=", ".join(map(str, setup.bottoms)),
                expected="(N, C, 1, 1), (N, C, H, W) and (N, C, H, W)",
            )

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        factor, x, y = bottoms
        fits = len(x) == 4 and x == y and factor in ((*x[:2], 1, 1), x[:2])
        return (Top(x),) if fits else None
