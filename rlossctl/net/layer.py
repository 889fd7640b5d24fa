"""What every layer is: a constructor that reads its message, and a forward.

The builder runs the forward on meta tensors to learn the tops' shapes, so a layer needs no shape rules of
its own. The builder also handles loss weights, sharing, propagate_down and in-place names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
import torch
from torch import nn

from rlossctl.counts import ClassCounts
from rlossctl.errors import NetError
from rlossctl.net.fillers import Filler
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.sizes import shape_fault
from rlossctl.prototxt.messages import LayerParameter

if TYPE_CHECKING:
    from rlossctl.data.sources.stream import Source, SourceOptions

Shape = tuple[int, ...]


class GuessedShape(tuple[int, ...]):
    """An unknown shape of labels: the loss or metric that reads them gives them a shape that fits."""


@dataclass(frozen=True)
class Setup:
    """The arguments of a layer's constructor.

    Attributes:
        message: the LayerParameter.
        bottoms: shapes of the bottoms.
        tops: number of tops, automatic ones included.
        phase: "TRAIN" or "TEST".
        dialect: "bvlc", "rloss", "segnet", "enet" or "fcn".
        where: file:line of the layer.
        options: the caller's settings for data layers (seed, workers, source, root, image_shape).
    """

    message: LayerParameter
    bottoms: Sequence[Shape]
    tops: int
    phase: str
    dialect: str
    where: str
    options: SourceOptions

    def error(
        self, message: str, *, found: object = None, expected: object = None, advice: str | None = None
    ) -> NetError:
        """A NetError that names the layer, its type and its line."""
        return layer_error(
            self.message.name,
            self.message.type,
            self.where,
            message,
            found=found,
            expected=expected,
            advice=advice,
        )


def layer_error(
    name: str,
    kind: str,
    where: str,
    message: str,
    *,
    found: object = None,
    expected: object = None,
    advice: str | None = None,
) -> NetError:
    """The form of every error about a layer."""
    text = f"layer {name!r} ({kind}): {message}"
    return NetError(text, where=where, found=found, expected=expected, advice=advice)


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


class Layer(nn.Module):
    """Base class of all layers.

    A subclass has a `forward` that takes one tensor per bottom and returns a tensor, or a tuple of its tops.

    Attributes:
        blobs: learned blobs in Caffe's order, parameters "0", "1", ...; on the meta device until the net
            allocates them.
        fillers: one FillerParameter (None for zeros, or a function that fills the tensor) per blob.
        default_lr_mult: lr_mult of blobs whose ParamSpec does not set it.
        forced_lr_mult: lr_mult of all blobs, whatever the prototxt says; None leaves it to the prototxt.
        forced_rates: lr_mult and decay_mult of single blobs, whatever the prototxt says.
        spare_blobs: what further blobs weigh that another version of the layer stores; a file may hold them
            if they are all 0, because then they do not count.
        low_precision: it may compute in 16 bits where the solver's `precision` says so; others get and give
            float32.
        compilable: torch.compile may trace it: it checks no values and talks to nobody. Layers that are never
            exported are not compiled in any case.
        keeps_shape: from bottoms of one shape it makes one top of that shape; a pass of shapes then need not
            run its forward.
        unexportable: why this layer cannot be in a converted model; "" if it can.
        rounds_size: its top's sides are a rounded share of its bottom's. If several such sizes follow each
            other, torch's exporter does not finish its formulas, so ONNX files get one size.
        regularizer: whether its loss is to guide what the labels leave open, and so must not pull harder than
            the losses of the labels.
    """

    default_lr_mult = 1.0
    forced_lr_mult: float | None = None
    forced_rates: Mapping[int, tuple[float, float]] = MappingProxyType({})
    spare_blobs: tuple[str, ...] = ()
    low_precision = False
    compilable = True
    keeps_shape = False
    unexportable: str = ""
    rounds_size = False
    regularizer = False

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.fillers: list[Filler] = []

    @property
    def blobs(self) -> Blobs:
        """The learned blobs in Caffe's order."""
        return Blobs(self)

    def add_blob(self, shape: Sequence[int], filler: Filler = None) -> None:
        """Declares the next learned blob.

        Raises:
            NetError: a size is negative, or there are more values than can be counted.
        """
        if fault := shape_fault(shape):
            found = "x".join(map(str, shape))
            raise self.error(f"its learned blob {len(self.blobs)} {fault}", found=found)
        self.blobs.append(nn.Parameter(torch.empty(tuple(shape), device="meta")))
        self.fillers.append(filler)

    def _not_written(self, graph: OnnxGraph, *bottoms: OnnxValue) -> Written:
        """Writes the layer as nodes of an ONNX graph: its forward once more, in ONNX's words.

        Returns:
            The names of its tops; None if torch is to export the forward instead, as for every layer that
            does not define this method.
        """
        return None

    write_onnx: Callable[..., Written] = _not_written

    def multiply_adds(self, tops: Sequence[Shape]) -> int | None:
        """Products with weights in a pass, for tops of these shapes; None lets torch count a pass."""
        return 0 if self.keeps_shape or not self.blobs else None

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

    def window(self) -> tuple[float, float]:
        """Receptive field of one output, and the step between outputs; both in inputs."""
        return 1.0, 1.0

    def error(
        self, message: str, *, found: object = None, expected: object = None, advice: str | None = None
    ) -> NetError:
        """A NetError that names this layer."""
        return self.setup.error(message, found=found, expected=expected, advice=advice)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Errors of a function that knows no layers become this layer's."""
        try:
            yield
        except NetError as error:
            named = self.error(error.message, found=error.found, expected=error.expected, advice=error.advice)
            named.samples, named.batch_size = error.samples, error.batch_size
            raise named from error


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


class BatchSource(Protocol):
    """Supplies the batches of a data layer."""

    def next_batch(self) -> Sequence[np.ndarray | torch.Tensor]:
        """The next batch: a float32 array for every top, or a tensor on the net's device."""
        ...

    def state(self) -> dict[str, Any]:
        """The position in the data, as values that JSON can hold."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a `state()`."""
        ...


class DataLayer(Layer):
    """A layer without bottoms whose tops come from outside.

    `source` supplies its batches; it is None for layers that can only be fed (Input).
    """

    source: BatchSource | None = None

    def shapes(self) -> list[Shape]:
        """Shapes of the tops, known without reading data where the prototxt states them."""
        raise TypeError(f"{type(self).__name__} has no shapes")


class SourceLayer(DataLayer):
    """A data layer whose source knows the shapes of its tops."""

    source: Source

    def shapes(self) -> list[Shape]:
        return list(self.source.shapes().values())


def read_options(setup: Setup) -> SourceOptions:
    """What a source takes from the caller: seed, workers, source and root (which replace the prototxt's),
    image_shape (which replaces a look at the data), and the layer's name and line for errors."""
    given = setup.options
    return {
        "where": setup.where,
        "seed": int(given.get("seed") or 0),
        "workers": int(given.get("workers") or 0),
        "source": given.get("source"),
        "root": given.get("root"),
        "image_shape": given.get("image_shape"),
    }


def only_sized(x: torch.Tensor) -> bool:
    """Whether a pass only asks for shapes.

    Torch works these out in Python, imports its compiler for some, and takes seconds for a deep net, so
    layers with simple formulas answer themselves.
    """
    return x.is_meta and not torch.is_grad_enabled()


def canonical_axis(setup: Setup, axis: int, rank: int) -> int:
    """The axis as 0..rank-1; it may be given as negative."""
    if not -rank <= axis < rank:
        raise setup.error("axis out of range", found=axis, expected=f"{-rank} to {rank - 1}")
    return axis % rank
