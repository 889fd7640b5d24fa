"""A moving average of the weights beside those that are trained (ema_decay)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rlossctl.net import Net
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.updating.policies import as_written


class Average:
    """average = decay * average + (1 - decay) * weights after every update, over all blobs of a net.

    It starts as the weights before the first update. Running statistics are averaged as well. (The teacher of
    Tarvainen and Valpola 2017 is such an average.) Without ema_decay there is none, and nothing happens.

    Args:
        param: the SolverParameter.
        net: the training net.
    """

    def __init__(self, param: SolverParameter, net: Net) -> None:
        self._decay = as_written(param.ema_decay) if param.HasField("ema_decay") else None
        self._weights = [entry.tensor.detach() for entry in net.learnable]
        self._net = net
        self._average: list[Tensor] = []
        self._shown = False

    @property
    def exists(self) -> bool:
        """Whether there is an average: ema_decay is set and an update was made."""
        return bool(self._average)

    @torch.no_grad()
    def begin(self) -> None:
        """Starts from the weights, if it has not started."""
        if self._decay is not None and not self._average:
            self._average = [blob.clone() for blob in self._weights]

    @torch.no_grad()
    def add(self) -> None:
        """Takes the weights of an update in."""
        if self._decay is not None:
            torch._foreach_lerp_(self._average, self._weights, 1 - self._decay)

    def blobs(self) -> Mapping[str, list[Tensor]]:
        """The average by layer, as `Net.params` has the weights; starts it if it has not started."""
        self.begin()
        entries = self._net.learnable
        by_blob = {id(entry.tensor): blob for entry, blob in zip(entries, self._average, strict=True)}
        return {name: [by_blob[id(blob)] for blob in blobs] for name, blobs in self._net.params.items()}

    def values(self) -> list[Tensor] | None:
        """The average of each learnable blob, while it is not `shown`; None if there is none."""
        return self._average if self.exists else None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """The net, and all that share its weights, have the average inside the block."""
        yield from self._swapped(not self._shown)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """The net has the weights that are trained inside the block, also within `shown`."""
        yield from self._swapped(self._shown)

    def _swapped(self, due: bool) -> Iterator[None]:
        due = due and self.exists
        if due:
            self._swap()
        try:
            yield
        finally:
            if due:
                self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        kept = [blob.clone() for blob in self._weights]
        torch._foreach_copy_(self._weights, self._average)
        torch._foreach_copy_(self._average, kept)
        self._shown = not self._shown
