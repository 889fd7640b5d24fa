"""Memory for large results of the native kernels, kept from one step of a training to the next.

An allocator returns such memory to the system, which then has to clear it page by page at each step. That can
take as long as the filter. Here it is mapped once, in huge pages where the system has them, and returns to
this module when the last tensor that uses it is gone. So what anybody still holds is never written again.
"""

from __future__ import annotations

import contextlib
import mmap
import weakref
from collections import deque

import numpy as np
import torch

SMALLEST = 1 << 20  # floats; an allocator keeps less than that by itself
KEPT = 2  # pieces, those returned last: a net may have two such losses

_free: deque[np.ndarray] = deque(maxlen=KEPT)  # its operations are atomic; a lock might wait for itself


def empty_like(tensor: torch.Tensor) -> torch.Tensor:
    """`torch.empty_like` of a contiguous float32 tensor on the CPU; a large result cannot be resized."""
    count = tensor.numel()
    if count < SMALLEST:
        return torch.empty_like(tensor)
    try:
        piece = _take(count)
    except OSError:  # torch says best how much memory is missing
        return torch.empty_like(tensor)
    lent = piece[:count]  # lives as long as any tensor over it
    weakref.finalize(lent, _free.append, piece).atexit = False
    return torch.from_numpy(lent).view(tensor.shape)


def release() -> None:
    """Returns to the system what is kept and not in use."""
    _free.clear()


def _take(count: int) -> np.ndarray:
    """A piece of at least `count` floats, but not of more than twice as many."""
    for _ in range(len(_free)):
        try:
            piece = _free.popleft()
        except IndexError:  # another thread was faster
            break
        if count <= piece.size <= 2 * count:
            return piece
        _free.append(piece)
    return _mapped(count)


def _mapped(count: int) -> np.ndarray:
    if not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(count, np.float32)
    memory = mmap.mmap(-1, 4 * count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32)
