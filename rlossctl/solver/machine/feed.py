"""The next batch on its way to the GPU while a step runs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from rlossctl.data.sources.memory import MemorySource
from rlossctl.data.sources.stream import Source


def may_be_drawn_ahead(source: object) -> TypeGuard[Source]:
    """Whether a source's samples depend on their number alone: not on a generator, nor on what is fed."""
    return isinstance(source, Source) and not isinstance(source, MemorySource)


class DeviceFeed:
    """A source whose next batch a thread draws and copies to a GPU, on a stream of its own.

    `state` stays that of the batches that were taken: one that was drawn ahead and never taken is drawn again
    after a resume. Everything else is the source's.

    Args:
        source: what supplies the batches.
        device: the GPU.
        memory_format: for 4-D tops.
    """

    def __init__(self, source: Source, device: torch.device, memory_format: torch.memory_format) -> None:
        self._source = source
        self._device = device
        self._memory_format = memory_format
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: Future[list[Tensor]] | None = None
        self._before: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def next_batch(self) -> Sequence[Tensor | np.ndarray]:
        """The next batch, on the device for the current stream."""
        if self._ahead is None:
            self.draw_ahead()
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            raise RuntimeError("no batch is on its way")
        tensors = ahead.result()
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for tensor in tensors:
                tensor.record_stream(current)
        return tensors

    def draw_ahead(self) -> None:
        """Begins to draw the next batch."""
        if self._ahead is None:
            self._before = self._source.state()
            self._ahead = self._thread.submit(self._draw)

    def state(self) -> dict[str, Any]:
        """The source's, from before a batch that was not taken yet."""
        return self._source.state() if self._ahead is None else self._before

    def restore(self, state: dict[str, Any]) -> None:
        """Forgets a batch that was not taken, and goes on from a `state()`."""
        self._forget()
        self._source.restore(state)

    def close(self) -> None:
        """Ends the thread and the source's; a batch that was not taken will be drawn again."""
        if self._ahead is not None:
            before = self._before
            self._forget()
            self._source.restore(before)
        self._source.close()

    def _forget(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.exception()  # waits: the thread must not move the source any more

    def _draw(self) -> list[Tensor]:
        return [self._copied(torch.from_numpy(array)) for array in self._source.next_batch()]

    def _copied(self, batch: Tensor) -> Tensor:
        if self._stream is None:
            return batch.to(self._device)
        with torch.cuda.stream(self._stream):
            there = batch.pin_memory().to(self._device, non_blocking=True)
            return there.contiguous(memory_format=self._memory_format) if there.dim() == 4 else there
