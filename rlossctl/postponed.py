"""Values on a GPU that are read later, all together, so that the host does not wait for each.

A check such as "is any label out of range" needs a value, and reading one value from a GPU waits until the
GPU has finished everything before it. Inside `postponing` such checks leave their answers on the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = ("cpu",)  # device types whose values can be read without waiting


class Doubt(NamedTuple):
    """A check whose answer was not read yet.

    Attributes:
        wrong: a scalar on a device, not 0 if the check fails.
        refuse: raises the error that says what is wrong. It may wait for the device.
    """

    wrong: Tensor
    refuse: Callable[[], NoReturn]


class Numbers:
    """Numbers on their way from a device. A copy is asked for now and read when it is needed.

    Args:
        values: a vector. On a CPU it is only kept.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._arrival: Any = None
        if values.is_cuda:
            import torch

            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrival = torch.cuda.Event()
            self._arrival.record(torch.cuda.current_stream(values.device))

    @property
    def there(self) -> bool:
        """Whether reading would not wait."""
        return self._arrival is None or bool(self._arrival.query())

    def read(self) -> list[float]:
        """The numbers; waits for what the device did before they were asked for, and for nothing after it."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return cast("list[float]", self._values.tolist())


_open: ContextVar[list[Doubt] | None] = ContextVar("postponed checks", default=None)


@contextlib.contextmanager
def postponing(doubts: list[Doubt] | None) -> Iterator[None]:
    """Checks inside the block add their doubts to the list; with None they are made at once."""
    token = _open.set(doubts)
    try:
        yield
    finally:
        _open.reset(token)


def check(wrong: Tensor, refuse: Callable[[], NoReturn]) -> bool:
    """Refuses now if `wrong` is true, or notes the doubt where that would wait and somebody reads it later.

    Returns:
        Whether the answer is still open: the caller then goes on with values that may be wrong.
    """
    doubts = _open.get()
    if doubts is not None and wrong.device.type not in AT_ONCE:
        doubts.append(Doubt(wrong, refuse))
        return True
    if wrong:
        refuse()
    return False
