"""What every layer is: a constructor that reads its message, and a forward.

The builder runs the forward on meta tensors to learn the tops' shapes, so a layer has no shape rules of
its own. Loss weights, sharing, propagate_down and in-place names are the builder's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from google.protobuf.message import Message
from torch import Tensor, nn

from rlossctl.errors import NetError
from rlossctl.net.fillers import Filler

Shape = tuple[int, ...]


class GuessedShape(tuple[int, ...]):
    """A shape of labels that nobody states: the loss or metric that reads them gives them one that fits."""


@dataclass(frozen=True)
class Setup:
    """What a layer's constructor is told.

    Attributes:
        message: the LayerParameter.
        bottoms: shapes of the bottoms.
        tops: number of tops, automatic ones included.
        phase: "TRAIN" or "TEST".
        dialect: "bvlc", "rloss", "segnet", "enet" or "fcn".
        where: file:line of the layer.
        options: data-layer settings of the caller (seed, workers, source, root, image_shape).
    """

    message: Message
    bottoms: Sequence[Shape]
    tops: int
    phase: str
    dialect: str
    where: str
    options: dict[str, object] = field(default_factory=dict)

    def error(self, message: str, **details: object) -> NetError:
        """A NetError that names the layer, its type and its place."""
        return layer_error(self.message.name, self.message.type, self.where, message, **details)


def layer_error(name: str, kind: str, where: str, message: str, **details: object) -> NetError:
    """The one form of errors about a layer."""
    return NetError(f"layer {name!r} ({kind}): {message}", where=where, **details)


class Layer(nn.Module):
    """Base of all layers.

    Attributes:
        blobs: learned blobs in Caffe's order; on the meta device until the net allocates them.
        fillers: one FillerParameter (None for zeros, or a function that fills the tensor) per blob.
        default_lr_mult: of blobs without a ParamSpec that sets it.
        forced_lr_mult: of all blobs, whatever the prototxt says; None leaves it to the prototxt.
        forced_rates: lr_mult and decay_mult of single blobs, whatever the prototxt says.
        unexportable: why no converted model can do what this layer does, "" where one can.
    """

    default_lr_mult = 1.0
    forced_lr_mult: float | None = None
    forced_rates: Mapping[int, tuple[float, float]] = MappingProxyType({})
    unexportable: str = ""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.blobs = nn.ParameterList()
        self.fillers: list[Filler] = []

    def add_blob(self, shape: Sequence[int], filler: Filler = None) -> None:
        """Declares the next learned blob."""
        self.blobs.append(nn.Parameter(torch.empty(tuple(shape), device="meta")))
        self.fillers.append(filler)

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Bottoms to tops, in the order of the prototxt."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def settle(self) -> None:
        """Computes once what does not depend on the bottoms, before an export; later weights are not seen."""

    def window(self) -> tuple[float, float]:
        """Receptive field of one output in inputs, and the step between outputs in inputs."""
        return 1.0, 1.0

    def error(self, message: str, **details: object) -> NetError:
        """A NetError that names this layer."""
        return self.setup.error(message, **details)


class DataLayer(Layer):
    """A layer without bottoms whose tops come from outside.

    `source` gives `shapes() -> list of shapes` and `next_batch() -> list of float32 arrays` in top order;
    it is None for layers that can only be fed (Input).
    """

    source: object | None = None

    def shapes(self) -> list[Shape]:
        """Shapes of the tops, known without reading data where the prototxt states them."""
        raise TypeError(f"{type(self).__name__} has no shapes")


class SourceLayer(DataLayer):
    """A data layer whose tops have the shapes that its source tells."""

    def shapes(self) -> list[Shape]:
        return list(self.source.shapes().values())


def read_options(setup: Setup) -> dict[str, object]:
    """What a source takes from the caller (seed, workers; source and root in place of the prototxt's;
    image_shape in place of looking at the data) and the place of the layer for its errors."""
    names = ("source", "root", "image_shape")
    given = {key: value for key in names if (value := setup.options.get(key)) is not None}
    numbers = {key: int(setup.options.get(key) or 0) for key in ("seed", "workers")}
    return {"where": setup.where, **given, **numbers}


def canonical_axis(setup: Setup, axis: int, rank: int) -> int:
    """A possibly negative axis as 0..rank-1."""
    if not -rank <= axis < rank:
        raise setup.error("axis out of range", found=axis, expected=f"{-rank} to {rank - 1}")
    return axis % rank
