"""The part of Caffe that a Python layer's code sees: `caffe.Layer`, blobs of arrays, and a module `caffe`.

It follows pycaffe's interface (python/caffe/_caffe.cpp, python_layer.hpp).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.net.storage import Storage
from rlossctl.prototxt.messages import LayerParameter, Phase

TRAIN, TEST = Phase.TRAIN, Phase.TEST


class UserCodeError(NetError):
    """The user's code failed; `__cause__` is its exception."""


class Blob:
    """Values and their gradient as float32 arrays of one shape, written in place: `blob.data[...] = x`.

    Args:
        shape: all axes.
        values: the memory of the values; by default zeros on the CPU.
    """

    def __init__(self, shape: Sequence[int] = (), values: Storage | None = None) -> None:
        self._shape = tuple(shape)
        self.values = values or Storage.zeros(math.prod(self._shape))
        self._gradient: Storage | None = None

    @property
    def has_gradient(self) -> bool:
        """Whether the gradient has memory, of the right size."""
        return self._gradient is not None and self._gradient.count == self.count

    @property
    def gradient(self) -> Storage:
        """The memory of the gradient; allocated at the first use."""
        if self._gradient is None or self._gradient.count != self.count:
            self._gradient = Storage.zeros(self.count, self.values.device)
        return self._gradient

    @property
    def data(self) -> np.ndarray:
        """The values; to set them copies, so that `blob.data += x` counts, too."""
        return self.values.array().reshape(self._shape)

    @data.setter
    def data(self, values: ArrayLike) -> None:
        self.data[...] = values

    @property
    def diff(self) -> np.ndarray:
        """The gradient with respect to the values; it can be set like them."""
        return self.gradient.array().reshape(self._shape)

    @diff.setter
    def diff(self, values: ArrayLike) -> None:
        self.diff[...] = values

    @property
    def shape(self) -> tuple[int, ...]:
        """All axes."""
        return self._shape

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self._shape)

    @property
    def num(self) -> int:
        """The first of four axes; a missing axis counts as 1."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """The second of four axes."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """The third of four axes."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """The last of four axes."""
        return self._legacy(3)

    def reshape(self, *shape: int) -> None:
        """Changes the shape; values are kept if their number stays the same, else they become 0."""
        self._shape = tuple(int(size) for size in shape)
        if self.values.count != self.count:
            self.values = Storage.zeros(self.count, self.values.device)

    def tensor(self) -> Tensor:
        """The values as a tensor, which shares their memory."""
        return self.values.tensor().view(self._shape)

    def take(self, values: Tensor) -> None:
        """Takes over a tensor's shape and values."""
        self._shape = tuple(values.shape)
        self.values.take(values)

    def share(self, other: Blob) -> None:
        """From here on the values are the other's, in its shape; the gradient stays its own (ShareData)."""
        self._shape, self.values = other.shape, other.values

    def move(self, device: torch.device) -> None:
        """Takes values and gradient to a device."""
        self.values.move(device)
        if self._gradient is not None:
            self._gradient.move(device)

    def _legacy(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1


class BlobVec(list):
    """A layer's learned blobs."""

    def add_blob(self, *shape: int) -> Blob:
        """Appends a blob of zeros."""
        self.append(Blob(shape))
        return self[-1]


class Layer:
    """Base class of the layers in a Python layer's module; they define setup, reshape, forward and backward.

    Attributes:
        param_str: python_param.param_str; `param_str_` is its name of 2014.
        phase: TRAIN (0) or TEST (1).
        type: "Python".
        blobs: learned blobs; setup may add some.
    """

    param_str = param_str_ = ""
    phase = TEST
    type = "Python"

    def __init__(self, message: LayerParameter | None = None) -> None:
        self.blobs = BlobVec()

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Runs once, before the first reshape."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gives the tops their shapes; runs before every forward."""
        raise NotImplementedError(f"{type(self).__name__} has no reshape")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Writes top[i].data."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Reads top[i].diff; writes bottom[i].diff if propagate_down[i], and adds to blobs[i].diff."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")


def import_module(name: str, folders: Sequence[Path]) -> ModuleType:
    """Imports a Python layer's module from the usual places, then from `folders`.

    If Caffe itself is not installed, `import caffe` gives the module defined in this file.
    """
    if "caffe" not in sys.modules and importlib.util.find_spec("caffe") is None:
        sys.modules["caffe"] = _caffe()
    before = list(sys.path)
    sys.path.extend(str(folder) for folder in folders)
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = before


def _caffe() -> ModuleType:
    module = ModuleType("caffe", "The part of pycaffe that Python layers use, given by rlossctl.")
    for name, value in (("Layer", Layer), ("TRAIN", TRAIN), ("TEST", TEST)):
        setattr(module, name, value)
    return module
