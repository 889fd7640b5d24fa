"""One layer with its blobs: it runs forward and backward by itself, as in Caffe, on what the blobs hold then.

Blobs stay between the passes. So a pass may begin and end anywhere, and a script may write values and
gradients in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlossctl.layers.data import DummyData
from rlossctl.layers.python import UserCode
from rlossctl.net.layer import BatchSource, DataLayer
from rlossctl.net.pycaffe import Blob, BlobVec
from rlossctl.net.pycaffe import Layer as UserLayer
from rlossctl.net.tops import tops_of
from rlossctl.net.walk import LayerNode

# Layers whose tops are their bottoms' memory in Caffe, too.
SHARING = ("Flatten", "Reshape")


@dataclass(frozen=True)
class Place:
    """Where a layer stands.

    Attributes:
        name, type: as in the prototxt.
        bottoms, tops: its blobs.
        weights: the loss weight of each top.
        blobs: its learned blobs.
    """

    name: str
    type: str
    bottoms: Sequence[Blob]
    tops: Sequence[Blob]
    weights: Sequence[float]
    blobs: BlobVec


class LayerRun:
    """A layer without computations, such as Input.

    Attributes:
        place: its name, type and blobs.
        down: for each bottom, whether it gets a gradient.
        active: whether it takes part in the backward pass.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.down = [False] * len(place.bottoms)
        self.active = False
        self._weigh()

    @property
    def shown(self) -> ShownLayer | UserLayer:
        """What `net.layers` holds for this layer."""
        return ShownLayer(self)

    def forward(self) -> None:
        """Computes the tops from the bottoms."""
        self.compute()
        self._weigh()

    def compute(self) -> None:
        """Computes the tops from the bottoms."""

    def backward(self) -> None:
        """Computes the gradients of the bottoms from those of the tops, and adds to those of the blobs."""

    def reshape(self) -> None:
        """Gives the tops the shapes that follow from the bottoms'."""

    def forget(self) -> None:
        """The next backward pass computes anew what it needs of the forward pass."""

    def _weigh(self) -> None:
        """The gradient of a loss is its weight, until a script writes another (Layer::SetLossWeights)."""
        for top, weight in zip(self.place.tops, self.place.weights, strict=True):
            if weight and not top.has_gradient:
                top.diff[...] = weight


class ShownLayer:
    """A layer as a script sees it.

    Attributes:
        type: its type.
        blobs: its learned blobs.
    """

    def __init__(self, run: LayerRun) -> None:
        self._run = run
        self.type = run.place.type
        self.blobs = run.place.blobs

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing: the net has set it up."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gives the net's own blobs behind the layer their shapes."""
        self._run.reshape()


class DataRun(LayerRun):
    """A layer that draws batches."""

    def __init__(self, place: Place, node: LayerNode) -> None:
        super().__init__(place)
        self.node = node
        self._kept = [False] * len(place.tops)
        if isinstance(node.module, DummyData):
            self._kept = node.module.source.constant
            for index, top in enumerate(place.tops):
                if self._kept[index]:
                    self._put(top, node.module.source.filled(index))

    @property
    def source(self) -> BatchSource | None:
        """What supplies its batches; None for a layer that is only fed."""
        return self.node.module.source if isinstance(self.node.module, DataLayer) else None

    def compute(self) -> None:
        """Draws the next batch. A constant of DummyData keeps what a script wrote over it."""
        if self.source is None or all(self._kept):
            return
        for top, values, kept in zip(self.place.tops, self.source.next_batch(), self._kept, strict=True):
            if not kept:
                self._put(top, values)

    @staticmethod
    def _put(top: Blob, values: object) -> None:
        top.take(torch.as_tensor(values).to(top.values.device))


class SplitRun(LayerRun):
    """A Split that Caffe inserts: one memory for all tops; their gradients are added."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.reshape()

    def compute(self) -> None:
        """Shows the bottom's values under all names."""
        self.reshape()

    def reshape(self) -> None:
        """The tops are the bottom."""
        for top in self.place.tops:
            top.share(self.place.bottoms[0])

    def backward(self) -> None:
        """Adds the tops' gradients up."""
        total = self.place.tops[0].gradient.tensor().clone()
        for top in self.place.tops[1:]:
            total += top.gradient.tensor()
        self.place.bottoms[0].gradient.take(total)


class UserRun(LayerRun):
    """A Python layer: its code reads and writes the net's blobs themselves."""

    def __init__(self, place: Place, code: UserCode) -> None:
        super().__init__(place)
        self.layer = code.layer

    @property
    def shown(self) -> UserLayer:
        """The user's object."""
        found: UserLayer = self.layer
        return found

    def compute(self) -> None:
        """The user's reshape and forward."""
        self.reshape()
        self.layer.forward(self.place.bottoms, self.place.tops)

    def reshape(self) -> None:
        """The user's reshape."""
        self.layer.reshape(self.place.bottoms, self.place.tops)

    def backward(self) -> None:
        """The user's backward."""
        self.layer.backward(self.place.tops, self.down, self.place.bottoms)


class ModuleRun(LayerRun):
    """A layer of ours: autograd records its forward pass alone."""

    def __init__(self, place: Place, node: LayerNode) -> None:
        super().__init__(place)
        self.node = node
        self._recorded: tuple[list[Tensor], tuple[Tensor, ...]] | None = None

    def compute(self) -> None:
        """Runs the module; the tops take its results over without a copy."""
        bottoms = [self._bottom(index) for index in range(len(self.place.bottoms))]
        tops = self._run(bottoms)
        self._recorded = (bottoms, tops) if self.active and torch.is_grad_enabled() else None
        read = {_memory(bottom) for bottom in bottoms}
        for blob, top in zip(self.place.tops, tops, strict=True):
            copied = _memory(top) in read and self.place.type not in SHARING
            blob.take(top.detach().clone() if copied else top.detach())
        for blob in self.place.blobs if self.node.module.moving() else ():
            blob.values.overwritten()

    def reshape(self) -> None:
        """Gives the tops the shapes that they have for these bottoms."""
        bottoms = tuple(blob.shape for blob in self.place.bottoms)
        for blob, top in zip(self.place.tops, tops_of(self.node.module, bottoms), strict=True):
            blob.reshape(*top.shape)

    def backward(self) -> None:
        """The gradients of what was recorded; without a forward pass before, of what the blobs hold now."""
        bottoms, tops = self._recorded or self._again()
        given = [
            (top, blob.gradient.tensor().view(top.shape))
            for top, blob in zip(tops, self.place.tops, strict=True)
            if top.requires_grad
        ]
        params = list(self.node.module.blobs)
        wanted = [tensor for tensor in (*bottoms, *params) if tensor.requires_grad]
        found = iter(_gradients(given, wanted))
        seen = {_memory(diff) for _, diff in given}
        for blob, bottom in zip(self.place.bottoms, bottoms, strict=True):
            if bottom.requires_grad:
                gradient = next(found)
                copied = _memory(gradient) in seen
                seen.add(_memory(gradient))
                blob.gradient.take(gradient.clone() if copied else gradient)
        for blob, param in zip(self.place.blobs, params, strict=True):
            if param.requires_grad:
                blob.gradient.add(next(found))

    def forget(self) -> None:
        """Drops what autograd recorded."""
        self._recorded = None

    def _again(self) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        with torch.enable_grad():
            bottoms = [self._bottom(index) for index in range(len(self.place.bottoms))]
            self._recorded = (bottoms, self._run(bottoms))
        return self._recorded

    def _run(self, bottoms: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.active):
            # Without hooks: what listens to a whole net's pass would take this layer's pass for one.
            tops = self.node.module.forward(*bottoms)
        return tops if isinstance(tops, tuple) else (tops,)

    def _bottom(self, index: int) -> Tensor:
        """A bottom as the module reads it; a copy if others look at it and this layer writes it."""
        blob = self.place.bottoms[index]
        values = blob.tensor().detach()
        if blob.values.held and blob in self.place.tops:
            values = values.clone()
        return values.requires_grad_(self.active and self.down[index])


def _gradients(given: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of every tensor in `wanted`; zeros where none reaches it."""
    if not given or not wanted:
        return [torch.zeros_like(tensor) for tensor in wanted]
    tops, diffs = zip(*given, strict=True)
    found = torch.autograd.grad(tops, wanted, diffs, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(wanted, found, strict=True)
    ]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
