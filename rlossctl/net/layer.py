"""What every layer is: a constructor that reads its message, and a forward.

The builder runs the forward on meta tensors to learn the tops' shapes, so a layer needs no shape rules of
its own; the common types have some in `rlossctl.outlines`. The builder also handles loss weights, sharing,
propagate_down and in-place names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import torch
from torch import nn

from rlossctl.counts import ClassCounts
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.outline import BatchSource as BatchSource
from rlossctl.net.outline import DataOutline, Filler, Outline, SourceOutline
from rlossctl.net.outline import GuessedShape as GuessedShape
from rlossctl.net.outline import Setup as Setup
from rlossctl.net.outline import Shape as Shape
from rlossctl.net.outline import canonical_axis as canonical_axis
from rlossctl.net.outline import layer_error as layer_error
from rlossctl.net.outline import read_options as read_options


class Blobs(Sequence[nn.Parameter]):
    """The parameters of a layer, which are named by their numbers, as a list."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __len__(self) -> int:
        return len(self._layer._parameters)

    @overload
    def __getitem__(self, index: int) -> nn.Parameter: ...
    @overload
    def __getitem__(self, index: slice) -> list[nn.Parameter]: ...
    def __getitem__(self, index: int | slice) -> nn.Parameter | list[nn.Parameter]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"blob {index} of {len(self)}")
        blob: nn.Parameter = getattr(self._layer, str(index % len(self)))
        return blob

    def __setitem__(self, index: int, blob: nn.Parameter) -> None:
        setattr(self._layer, str(index), blob)

    def append(self, blob: nn.Parameter) -> None:
        """Adds the next one."""
        self._layer.register_parameter(str(len(self)), blob)


class Layer(Outline, nn.Module):
    """Base class of all layers.

    A subclass has a `forward` that takes one tensor per bottom and returns a tensor, or a tuple of its tops.

    Attributes:
        blobs: learned blobs in Caffe's order, parameters "0", "1", ...; on the meta device until the net
            allocates them.
        spare_blobs: what further blobs weigh that another version of the layer stores; a file may hold them
            if they are all 0, because then they do not count.
        compilable: torch.compile may trace it: it checks no values and talks to nobody. Layers that are never
            exported are not compiled in any case.
        regularizer: whether its loss is to guide what the labels leave open, and so must not pull much harder
            than the losses of the labels.
    """

    spare_blobs: tuple[str, ...] = ()
    compilable = True
    regularizer = False

    @property
    def blobs(self) -> Blobs:
        """The learned blobs in Caffe's order."""
        return Blobs(self)

    def add_blob(self, shape: Sequence[int], filler: Filler = None, *, learns: bool = True) -> None:
        super().add_blob(shape, filler, learns=learns)
        self.blobs.append(nn.Parameter(torch.empty(tuple(shape), device="meta"), requires_grad=learns))

    def _not_written(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        """Writes the layer as nodes of an ONNX graph: its forward once more, in ONNX's words.

        Returns:
            The names of its tops; None if torch is to export the forward instead, as for every layer that
            does not define this method.
        """
        return None

    write_onnx: Callable[..., Written] = _not_written

    def without_values(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tops that have only their shapes, for bottoms on the meta device."""
        tops = self.sized([tuple(bottom.shape) for bottom in bottoms])
        assert tops is not None
        return tuple(torch.empty(top.shape, device="meta") for top in tops)

    def joins(self, follower: Layer) -> bool:
        """Whether `forward_joined` computes this layer and a layer that alone reads its top."""
        return False

    def forward_joined(self, x: torch.Tensor, follower: Layer) -> torch.Tensor:
        """The follower's top for this layer's bottom, faster than one after the other."""
        raise TypeError(f"{type(self).__name__} is not joined with others")

    def settle(self) -> None:
        """Called before an export: computes what does not depend on the bottoms. Ignores later weights."""

    def moving(self) -> Sequence[nn.Parameter]:
        """The blobs that a pass itself changes: running statistics."""
        return ()

    def hold_statistics(self) -> bool:
        """From here on uses its stored statistics, as in TEST; False if it has none."""
        return False

    def share_statistics(self, total: Callable[[torch.Tensor], torch.Tensor]) -> bool:
        """From here on a batch's statistics are those of several processes' batches; False if it has none.

        Args:
            total: the sum over the processes, through which autograd goes.
        """
        return False

    def progress(self, done: float) -> bool:
        """Told before each pass of a training how much of it is done, from 0 to 1; whether that matters."""
        return False


class ListMetric(Layer):
    """A metric of a whole list: in phase TEST its tops are the figures of all batches since `restart`."""

    def restart(self) -> None:
        """Forgets the batches so far."""
        raise NotImplementedError

    def counts(self) -> ClassCounts:
        """The pixels of all batches since then: arrays [C]."""
        raise NotImplementedError

    @property
    def padding(self) -> int:
        """The label of pixels that do not count, with which photos are padded."""
        raise NotImplementedError


class DataLayer(DataOutline, Layer):
    """A layer without bottoms whose tops come from outside; see `DataOutline`."""


class SourceLayer(SourceOutline, DataLayer):
    """A data layer whose source knows the shapes of its tops."""
