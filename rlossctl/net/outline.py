"""What a layer is without its arithmetic: what it reads, its learned blobs, and the shapes of its tops.

The common types are described in `rlossctl.outlines`, and their layers derive from these descriptions:
`inspect` needs nothing else, so it loads no torch for a net of common types. The others are only layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rlossctl.errors import NetError
from rlossctl.net.sizes import shape_fault
from rlossctl.prototxt.messages import FillerParameter, LayerParameter

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from rlossctl.data.sources.stream import Source, SourceOptions

Filler = FillerParameter | Callable[["Tensor"], object] | None
Shape = tuple[int, ...]


class Top(NamedTuple):
    """A top's shape, and the number of the bottom that it is, if the layer passes that on unchanged."""

    shape: Shape
    bottom: int | None = None


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


class Outline:
    """Base class of all descriptions, and of all layers.

    Attributes:
        blob_shapes: shapes of the learned blobs in Caffe's order.
        fillers: one FillerParameter (None for zeros, or a function that fills the tensor) per blob.
        default_lr_mult: lr_mult of blobs whose ParamSpec does not set it.
        forced_lr_mult: lr_mult of all blobs, whatever the prototxt says; None leaves it to the prototxt.
        forced_rates: lr_mult and decay_mult of single blobs, whatever the prototxt says.
        keeps_shape: from bottoms of one shape it makes one top of that shape.
        low_precision: it may compute in 16 bits where the solver's `precision` says so; others get and give
            float32.
        unexportable: why this layer cannot be in a converted model; "" if it can.
        rounds_size: its top's sides are a rounded share of its bottom's. If several such sizes follow each
            other, torch's exporter does not finish its formulas, so ONNX files get one size.
    """

    default_lr_mult = 1.0
    forced_lr_mult: float | None = None
    forced_rates: Mapping[int, tuple[float, float]] = MappingProxyType({})
    keeps_shape = False
    low_precision = False
    unexportable: str = ""
    rounds_size = False

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.blob_shapes: list[Shape] = []
        self.fillers: list[Filler] = []

    def add_blob(self, shape: Sequence[int], filler: Filler = None, *, learns: bool = True) -> None:
        """Declares the next learned blob; without `learns` it never gets a gradient.

        Raises:
            NetError: a size is negative, or there are more values than can be counted.
        """
        if fault := shape_fault(shape):
            found = "x".join(map(str, shape))
            raise self.error(f"its learned blob {len(self.blob_shapes)} {fault}", found=found)
        self.blob_shapes.append(tuple(shape))
        self.fillers.append(filler)

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        """The tops for bottoms of these shapes; None if only the forward can tell, or refuses them."""
        if not self.keeps_shape or self.setup.tops != 1 or len(set(bottoms)) != 1:
            return None
        shape, own = bottoms[0], self.setup.bottoms[0]
        fits = not self.blob_shapes or (len(shape), shape[1:2]) == (len(own), tuple(own[1:2]))
        return (Top(shape),) if fits else None

    def multiply_adds(self, tops: Sequence[Shape]) -> int | None:
        """Products with weights in a pass, for tops of these shapes; None lets torch count a pass."""
        return 0 if self.keeps_shape or not self.blob_shapes else None

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


class BatchSource(Protocol):
    """Supplies the batches of a data layer."""

    def next_batch(self) -> Sequence[np.ndarray | Tensor]:
        """The next batch: a float32 array for every top, or a tensor on the net's device."""
        ...

    def state(self) -> dict[str, Any]:
        """The position in the data, as values that JSON can hold."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a `state()`."""
        ...


class DataOutline(Outline):
    """A layer without bottoms whose tops come from outside.

    `source` supplies its batches; it is None for layers that can only be fed (Input).
    """

    source: BatchSource | None = None

    def shapes(self) -> list[Shape]:
        """Shapes of the tops, known without reading data where the prototxt states them."""
        raise TypeError(f"{type(self).__name__} has no shapes")


class SourceOutline(DataOutline):
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


def canonical_axis(setup: Setup, axis: int, rank: int) -> int:
    """The axis as 0..rank-1; it may be given as negative."""
    if not -rank <= axis < rank:
        raise setup.error("axis out of range", found=axis, expected=f"{-rank} to {rank - 1}")
    return axis % rank
