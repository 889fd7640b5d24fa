"""The solver's `precision`: the type that the training net computes in, and float16's loss scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import torch
from torch import Tensor

from rlossctl.prototxt.messages import SolverParameter

FIRST, DOUBLED_AFTER = 2.0**16, 2000  # as in torch's GradScaler

TYPES = {
    SolverParameter.FP32: None,
    SolverParameter.BF16: torch.bfloat16,
    SolverParameter.FP16: torch.float16,
}


def precision_of(param: SolverParameter) -> torch.dtype | None:
    """The type for the net's heavy layers; None is float32 for all."""
    return TYPES[param.precision]


class ScaleState(TypedDict):
    """The factor, and how many updates it has lasted."""

    value: float
    lasted: int


class LossScale:
    """Multiplies the loss, so that small gradients do not vanish in float16 (Micikevicius et al. 2018, 3.2).

    An update whose gradients are not finite is left out, and the factor halved; after 2000 updates it is
    doubled.
    """

    def __init__(self) -> None:
        self.value = FIRST
        self._lasted = 0

    @torch.no_grad()
    def undo(self, blobs: Iterable[Tensor]) -> bool:
        """Divides the gradients of the blobs by the factor; whether they are finite numbers."""
        gradients = [blob.grad for blob in blobs if blob.grad is not None]
        if not gradients:
            return True
        torch._foreach_mul_(gradients, 1 / self.value)
        norms = torch.stack(torch._foreach_norm(gradients, float("inf")))
        if not torch.isfinite(norms).all():
            self.value, self._lasted = self.value / 2, 0
            return False
        self._lasted += 1
        if self._lasted == DOUBLED_AFTER:
            self.value, self._lasted = self.value * 2, 0
        return True

    def state(self) -> ScaleState:
        """The factor's state, fit for JSON."""
        return {"value": self.value, "lasted": self._lasted}

    def restore(self, state: ScaleState) -> None:
        """Goes on from `state()`."""
        self.value, self._lasted = float(state["value"]), int(state["lasted"])


def scale_of(param: SolverParameter) -> LossScale | None:
    """A loss scale where `precision` needs one."""
    return LossScale() if param.precision == SolverParameter.FP16 else None
