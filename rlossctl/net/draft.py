"""A net before it is built: wired and checked, with every shape, but without a tensor.

Building continues from here with layers that compute. `inspect` needs no more than their descriptions, and
so no torch where every type has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic

from rlossctl.errors import DataError, NetError, RlossError
from rlossctl.net import registry
from rlossctl.net.graph import Graph, Node, NodeView, build_graph
from rlossctl.net.origin import DataOverrides
from rlossctl.net.outline import DataOutline, GuessedShape, Outline, Setup, Shape, Top
from rlossctl.net.permission import check_permission, needs_permission
from rlossctl.net.sharing import Kind, Owner, resolve_sharing
from rlossctl.net.sizes import MAX_VALUES, shape_fault
from rlossctl.prototxt import dialect as dialects
from rlossctl.prototxt import phase as phases
from rlossctl.prototxt.completed import completed
from rlossctl.prototxt.messages import NetState, Phase
from rlossctl.prototxt.text import NetFile

if TYPE_CHECKING:
    from rlossctl.data.sources.stream import SourceOptions
    from rlossctl.net.layer import Layer

WITHOUT_DATA = "to build the net without its data, give image_shape (--image-shape C,H,W)"
# What torch and Python raise where sizes and numbers make no sense together.
_NOT_COMPUTABLE = (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError, MemoryError)
_LIMIT = f"sizes of at least 0, and at most {MAX_VALUES:,} values"
Make = Callable[[Node, Setup], Kind]


@dataclass(frozen=True, eq=False)
class Drafted(NodeView, Generic[Kind]):
    """A layer of a draft: its node in the graph, and what is known of it."""

    node: Node
    layer: Kind


@dataclass(frozen=True, eq=False)
class Draft(Generic[Kind]):
    """A net that is wired, with its layers or their descriptions, and with every shape.

    Attributes:
        file: the filtered NetParameter, and where it came from.
        layers: in order.
        shapes: blob name -> shape, for the sizes that the prototxt states.
        owners: the learned blobs, in the solver's order.
        phase: "TRAIN" or "TEST".
        dialect, dialect_reason: the Caffe fork that the net is for, and how that is known.
    """

    file: NetFile
    graph: Graph
    layers: tuple[Drafted[Kind], ...]
    shapes: dict[str, Shape]
    owners: tuple[Owner[Kind], ...]
    phase: str
    dialect: str
    dialect_reason: str

    @property
    def name(self) -> str:
        """The net's name."""
        return self.file.param.name

    @property
    def inputs(self) -> list[str]:
        """Net-level inputs and Input tops."""
        fed = (
            top
            for entry in self.layers
            if isinstance(entry.layer, DataOutline) and entry.layer.source is None
            for top in entry.tops
        )
        return [*self.graph.inputs, *fed]


def described(node: Node, setup: Setup) -> Outline:
    """Makes the description of a layer, or the layer where its type has none."""
    return (node.kind.outline or node.kind.cls)(setup)


def whole(node: Node, layer: Outline) -> Layer:
    """The layer itself, made from its description if need be."""
    from rlossctl.net.layer import Layer

    return layer if isinstance(layer, Layer) else node.kind.cls(layer.setup)


def draft_phase(file: NetFile, phase: str, data: SourceOptions | None = None) -> Draft[Outline]:
    """The descriptions of a file's net in one phase."""
    state = phases.net_state(phase, file.param.state)
    return draft_net(phases.filter_net(file, state), described, data=data)


def draft_inference_net(file: NetFile, data: DataOverrides | None = None) -> Draft[Outline]:
    """The descriptions of a net for prediction; see `inference_net`."""
    options = (data or DataOverrides()).options()
    return draft_net(inference_net(file), described, data=options, phase="TEST")


def inference_net(file: NetFile) -> NetFile:
    """The layers of a net for prediction, which are to behave as in TEST whatever phase it was written for.

    If the data layer exists only in TRAIN, the prototxt is filtered for TRAIN, so that the net keeps its
    image input. Its Dropout and BatchNorm layers still behave as in TEST.
    """
    state = phases.net_state("TEST", file.param.state)
    if any(layer.include or layer.exclude for layer in file.param.layer) and not _feedable(file, state):
        state.phase = Phase.TRAIN
    return phases.filter_net(file, state)


def draft_net(
    file: NetFile,
    make: Make[Kind],
    *,
    data: SourceOptions | None = None,
    phase: str | None = None,
    like: str | None = None,
) -> Draft[Kind]:
    """Wires a filtered NetFile whose `state` is set, and makes its layers.

    Args:
        make: makes a layer, or its description.
        phase: makes the layers behave as in a phase other than the state's.
        like: the dialect of the net whose weights it shares, for a file that does not show its own.

    Raises:
        NetError, DataError: with file, line and layer.
    """
    phase = phase or Phase.Name(file.param.state.phase)
    dialect, reason = file.dialect, file.dialect_reason
    if like is not None and reason == dialects.NO_EVIDENCE:
        dialect, reason = like, "like the net whose weights it shares"
    if dialect != file.dialect:
        param, notes = completed(file.param, dialect)
        file = replace(file, param=param, notes=tuple(dict.fromkeys((*file.notes, *notes))))
    graph = build_graph(file)
    fed = bool((data or {}).get("image_shape"))
    programs = [node for node in graph.nodes if needs_permission(node.message, fed=fed)]
    check_permission([(node.message, node.where) for node in programs])
    shapes = _input_shapes(file)
    layers = tuple(_draft_layer(node, shapes, phase, dialect, data or {}, make) for node in graph.nodes)
    owners = tuple(resolve_sharing([(entry.node, entry.layer) for entry in layers]))
    return Draft(file, graph, layers, shapes, owners, phase, dialect, reason)


def _feedable(file: NetFile, state: NetState) -> bool:
    """Whether the net has an image in this state: a net-level input or a data layer."""
    return bool(file.param.input) or any(
        phases.included(layer, state)
        and (kind := registry.find(layer.type)) is not None
        and kind.role == "data"
        for layer in file.param.layer
    )


def _draft_layer(
    node: Node,
    shapes: dict[str, Shape],
    phase: str,
    dialect: str,
    options: SourceOptions,
    make: Make[Kind],
) -> Drafted[Kind]:
    shapes.update(_fitted(node, shapes))
    bottoms = [shapes[name] for name in node.bottoms]
    own_phase = Phase.Name(node.message.phase) if node.message.HasField("phase") else phase
    setup = Setup(node.message, bottoms, len(node.tops), own_phase, dialect, node.where, options)
    layer = _construct(node, setup, make)
    tops = _data_shapes(layer, setup) if isinstance(layer, DataOutline) else _tops(node, layer)
    if len(tops) != len(node.tops):
        raise setup.error("wrong number of tops", found=len(node.tops), expected=len(tops))
    for name, shape in zip(node.tops, tops, strict=True):
        if fault := shape_fault(shape):
            raise setup.error(f"its top {name!r} {fault}", found=_sizes(shape), expected=_LIMIT)
    shapes.update(zip(node.tops, tops, strict=True))
    return Drafted(node, layer)


def _construct(node: Node, setup: Setup, make: Make[Kind]) -> Kind:
    """The layer; numbers of its prototxt that torch or Python cannot compute with are its error."""
    try:
        return make(node, setup)
    except _NOT_COMPUTABLE as error:
        raise setup.error(
            "cannot be built with its parameters",
            found=_first_line(error),
            expected="numbers that fit its bottoms",
            advice="check the layer's parameters and the sizes of the blobs above",
        ) from error


# Losses and metrics that read a class id per position; the others read a value per score.
_CLASS_IDS = (
    "Accuracy",
    "HingeLoss",
    "InfogainLoss",
    "MultinomialLogisticLoss",
    "SegAccuracy",
    "SoftmaxWithLoss",
)


def _fitted(node: Node, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes that fit the scores, for a loss's or metric's labels whose shape was only guessed."""
    if node.kind.role not in ("loss", "metric") or len(node.bottoms) < 2:
        return {}
    scores = shapes[node.bottoms[0]]
    ids = (scores[0], 1, *scores[2:]) if len(scores) > 2 else scores[:1]
    fit = ids if node.kind.type in _CLASS_IDS else scores
    return {name: fit for name in node.bottoms[1:] if isinstance(shapes[name], GuessedShape)}


def _data_shapes(layer: DataOutline, setup: Setup) -> list[Shape]:
    """The layer's shapes; if data is missing, the error names the layer and says how to do without it."""
    try:
        return layer.shapes()
    except DataError as error:
        named = f"layer {setup.message.name!r}" in error.message
        place = f", {setup.where}" if setup.where and setup.where not in (error.where or "") else ""
        kind = f"layer {setup.message.name!r} ({setup.message.type}, phase {setup.phase}{place})"
        raise DataError(
            error.message if named else f"{kind}: {error.message}",
            where=error.where,
            found=error.found,
            expected=error.expected,
            advice=f"{error.advice}; {WITHOUT_DATA}" if error.advice else WITHOUT_DATA,
        ) from error


def _tops(node: Node, layer: Outline) -> list[Shape]:
    """Shapes of the tops: the layer's own answer, or else from running its forward on meta tensors."""
    setup = layer.setup
    try:
        known = layer.sized(tuple(setup.bottoms))
        return [top.shape for top in (_measured(node, layer) if known is None else known)]
    except RlossError:
        raise
    except _NOT_COMPUTABLE as error:
        raise setup.error(
            "cannot take its bottoms",
            found=", ".join(map(_sizes, setup.bottoms)) + f" ({_first_line(error)})",
            expected="shapes that fit the layer's parameters",
            advice="check kernel sizes, strides and the sizes of the blobs above",
        ) from error


def _measured(node: Node, layer: Outline) -> tuple[Top, ...]:
    from rlossctl.net.tops import measured_tops

    return measured_tops(whole(node, layer), tuple(layer.setup.bottoms))


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _input_shapes(file: NetFile) -> dict[str, Shape]:
    """Shapes of the net-level `input` blobs, from input_shape or the old input_dim (4 per input)."""
    param = file.param
    names = list(param.input)
    if param.input_shape:
        sizes = [tuple(shape.dim) for shape in param.input_shape]
    else:
        dims = list(param.input_dim)
        sizes = [tuple(dims[index : index + 4]) for index in range(0, len(dims), 4)]
    complete = bool(param.input_shape) or len(param.input_dim) == 4 * len(names)
    if len(sizes) != len(names) or not complete or any(size < 0 for shape in sizes for size in shape):
        raise NetError(
            "input and input_shape (or input_dim) do not match",
            where=file.path,
            found=f"{len(names)} input, sizes {sizes}",
            expected="one shape (or four input_dim) per input, no negative size",
        )
    for name, shape in zip(names, sizes, strict=True):
        if fault := shape_fault(shape):
            raise NetError(
                f"the input {name!r} {fault}", where=file.path, found=_sizes(shape), expected=_LIMIT
            )
    return dict(zip(names, sizes, strict=True))
