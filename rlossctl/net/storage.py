"""The memory of pycaffe's blobs: numbers that a script reads and writes as an array, and layers as a tensor.

As Caffe's SyncedMemory, it knows whether the array, the tensor or both hold the newest numbers. On the CPU
the two are the same memory, so nothing is ever copied for a look at it.
"""

from __future__ import annotations

import sys
from typing import Literal

import numpy as np
import torch
from torch import Tensor

CPU = torch.device("cpu")


class Storage:
    """float32 numbers in a row.

    Args:
        values: the numbers, on any device; they are shared, not copied.
        fixed: the tensor is somebody else's, such as a net's parameter: new numbers are written into it.
    """

    _tensor: Tensor
    _array: np.ndarray | None
    _shared: bool  # whether the two are one memory
    _newest: Literal["array", "tensor", "both"]

    def __init__(self, values: Tensor, *, fixed: bool = False) -> None:
        self._fixed = fixed
        self._adopt(values)

    @classmethod
    def zeros(cls, count: int, device: torch.device = CPU) -> Storage:
        """So many zeros. On the CPU their memory is taken when it is first used."""
        if device.type == "cpu":
            return cls(torch.from_numpy(np.zeros(count, np.float32)))
        return cls(torch.zeros(count, device=device))

    @property
    def count(self) -> int:
        """How many numbers."""
        return self._tensor.numel()

    @property
    def device(self) -> torch.device:
        """Where the tensor is."""
        return self._tensor.device

    @property
    def held(self) -> bool:
        """Whether a view of the array is alive outside: it is to see what is written next."""
        return self._array is not None and sys.getrefcount(self._array) > _FREE

    def array(self) -> np.ndarray:
        """The numbers as an array that may be written. On a GPU, what is written after the next use of the
        tensor does not count until the array is asked for again, as in Caffe."""
        if self._array is None:
            self._array = np.empty(self.count, np.float32)
        if self._newest == "tensor":
            torch.from_numpy(self._array).copy_(self._tensor)
        if not self._shared:
            self._newest = "array"
        return self._array

    def tensor(self) -> Tensor:
        """The numbers as a tensor of one axis."""
        if self._newest == "array" and self._array is not None:
            # As a script's write on the CPU: autograd is not told, and uses what is there, as Caffe does.
            self._tensor.data.copy_(torch.from_numpy(self._array))
            self._newest = "both"
        return self._tensor

    def take(self, values: Tensor) -> None:
        """New numbers, of any count. Without views of the old ones alive, their memory becomes this one's."""
        values = values.detach().to(torch.float32).reshape(-1)
        if self._fixed or (self.held and self._shared and values.numel() == self.count):
            self._tensor.data.copy_(values)
            self._newest = "both" if self._shared else "tensor"
        elif not self._shared and values.device == self.device and values.numel() == self.count:
            self._tensor, self._newest = values, "tensor"
        else:
            self._adopt(values)

    def add(self, values: Tensor) -> None:
        """Adds as many numbers."""
        self.tensor().add_(values.detach().reshape(-1))
        self.overwritten()

    def zero(self) -> None:
        """Sets all numbers to 0."""
        self.tensor().zero_()
        self.overwritten()

    def overwritten(self) -> None:
        """The tensor was written by somebody else."""
        if not self._shared:
            self._newest = "tensor"

    def move(self, device: torch.device) -> None:
        """Takes the numbers to a device; views from before then show what they showed."""
        if self.device != device and not self._fixed:
            self._adopt(self.tensor().to(device))
        elif self.device != device:
            self.tensor()

    def follow(self, values: Tensor) -> None:
        """The tensor of somebody else is another one now."""
        self._adopt(values)

    def _adopt(self, values: Tensor) -> None:
        self._tensor = values.detach().reshape(-1)
        self._shared = one_memory(self._tensor.device)
        self._array = self._tensor.numpy() if self._shared else None
        self._newest = "both" if self._shared else "tensor"


def one_memory(device: torch.device) -> bool:
    """Whether an array can show a tensor of this device."""
    return device.type == "cpu"


def _references() -> int:
    """What the interpreter counts for an array that nobody holds."""
    probe = Storage(torch.zeros(1))
    return sys.getrefcount(probe._array)


_FREE = _references()
