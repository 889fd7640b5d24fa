"""Builds a Net from messages: graph, layers on the meta device, shapes, sharing, and only then memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from rlossctl.errors import DataError, NetError, RlossError
from rlossctl.net import memory, pycaffe, registry
from rlossctl.net.coverage import MissingWeights, copy_covered
from rlossctl.net.graph import Node, build_graph
from rlossctl.net.kept import kept_for_backward
from rlossctl.net.layer import DataLayer, GuessedShape, Layer, Setup, Shape
from rlossctl.net.net import Net
from rlossctl.net.origin import DataOverrides, NetOrigin
from rlossctl.net.parameters import freeze, learnable, materialize, resolve_sharing, shared_blobs
from rlossctl.net.sizes import MAX_VALUES, shape_fault
from rlossctl.net.tops import tops_of
from rlossctl.net.walk import LayerNode
from rlossctl.prototxt import dialect as dialects
from rlossctl.prototxt import phase as phases
from rlossctl.prototxt.completed import completed
from rlossctl.prototxt.messages import NetState, Phase
from rlossctl.prototxt.text import NetFile
from rlossctl.weights import load_weights

if TYPE_CHECKING:
    from rlossctl.data.sources.stream import SourceOptions

WITHOUT_DATA = "to build the net without its data, give image_shape (--image-shape C,H,W)"
# What torch and Python raise where sizes and numbers make no sense together.
_NOT_COMPUTABLE = (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError, MemoryError)
_LIMIT = f"sizes of at least 0, and at most {MAX_VALUES:,} values"
Missing = Literal["warn", "error", "allow"]


def load_net(
    prototxt: str | Path,
    weights: str | Path | None = None,
    phase: str = "TEST",
    *,
    share: Net | None = None,
    device: str | torch.device = "cpu",
    level: int = 0,
    stages: tuple[str, ...] = (),
    data: SourceOptions | None = None,
    dialect: str = "auto",
    missing: Missing = "warn",
    **placeholders: object,
) -> Net:
    """Builds a net from a prototxt.

    Args:
        prototxt: file name; `${NAME}` placeholders are filled from keywords, then the environment.
        weights: caffemodel to copy from by layer name.
        phase: "TRAIN" or "TEST".
        share: another net; layers with the same name use its parameters (as a solver's test net does).
        device: where the weights go; "meta" allocates no memory.
        level, stages: the rest of Caffe's NetState.
        data: settings for data layers: source and root (which override the prototxt), seed, workers, and
            image_shape, the (C, H, W) to assume when the images are missing.
        dialect: "bvlc", "rloss", "segnet", "enet" or "fcn", for layer types that mean different things in
            different forks; "auto" looks for layer types that only one fork has.
        missing: what to do if `weights` lacks layers, which then keep their fillers' values: "warn" (a
            MissingWeights warning for a TEST net; a TRAIN net may start so), "error" or "allow".
        placeholders: values for the template.

    Raises:
        PrototxtError, NetError, WeightsError: with file, line and layer.
    """
    origin = NetOrigin(prototxt, weights, placeholders, dialect)
    return load_origin(
        origin, phase, level=level, stages=stages, share=share, device=device, data=data, missing=missing
    )


def load_origin(
    origin: NetOrigin,
    phase: str = "TEST",
    *,
    level: int = 0,
    stages: tuple[str, ...] = (),
    share: Net | None = None,
    device: str | torch.device = "cpu",
    data: SourceOptions | None = None,
    missing: Missing = "warn",
) -> Net:
    """`load_net` for a NetOrigin, as commands pass it on; its placeholders may have any name."""
    file = origin.read()
    net = build_phase(file, phase, level=level, stages=stages, share=share, device=device, data=data)
    if origin.weights is not None:
        coverage = copy_covered(net, load_weights(origin.weights), str(origin.weights))
        if missing == "error":
            coverage.require()
        elif missing == "warn" and coverage.warning() and net.phase == "TEST":
            warnings.warn(coverage.warning(), MissingWeights, stacklevel=3)
    return net


def build_phase(
    file: NetFile,
    phase: str,
    *,
    level: int = 0,
    stages: tuple[str, ...] = (),
    share: Net | None = None,
    device: str | torch.device = "cpu",
    data: SourceOptions | None = None,
) -> Net:
    """Builds a file's net for one phase; see `load_net`."""
    state = phases.net_state(phase, file.param.state, level=level, stages=stages)
    return build_net(phases.filter_net(file, state), device=device, share=share, data=data)


def load_inference_net(
    origin: NetOrigin, data: DataOverrides | None = None, device: str | torch.device = "cpu"
) -> Net:
    """Reads a net and builds it for prediction; the caller, who knows the weights' format, fills them in."""
    return build_inference_net(origin.read(), data, device)


def build_inference_net(
    file: NetFile, data: DataOverrides | None = None, device: str | torch.device = "cpu"
) -> Net:
    """Builds a net for prediction: layers behave as in TEST, whatever phase the prototxt was written for.

    If the data layer exists only in TRAIN, the prototxt is filtered for TRAIN, so that the net keeps its
    image input. Its Dropout and BatchNorm layers still behave as in TEST.
    """
    state = phases.net_state("TEST", file.param.state)
    if any(layer.include or layer.exclude for layer in file.param.layer) and not _feedable(file, state):
        state.phase = Phase.TRAIN
    options = (data or DataOverrides()).options()
    return build_net(phases.filter_net(file, state), device=device, data=options, phase="TEST")


def build_net(
    file: NetFile,
    *,
    device: str | torch.device = "cpu",
    share: Net | None = None,
    data: SourceOptions | None = None,
    phase: str | None = None,
    history: int | None = None,
) -> Net:
    """Builds a net from a filtered NetFile whose `state` is set (see `phases.filter_net`).

    `phase` makes the layers behave as in a phase other than the state's. A file that does not show its
    dialect takes the dialect of the net it shares weights with. `history` says that the net is to be trained,
    by a solver that keeps so many values for each learned one: the memory for it must be there, too.
    """
    phase = phase or Phase.Name(file.param.state.phase)
    dialect, reason = _dialect(file, share)
    if dialect != file.dialect:
        param, notes = completed(file.param, dialect)
        file = replace(file, param=param, notes=tuple(dict.fromkeys((*file.notes, *notes))))
    graph = build_graph(file)
    fed = bool((data or {}).get("image_shape"))
    programs = [node for node in graph.nodes if pycaffe.needs_permission(node.message, fed=fed)]
    pycaffe.check_permission([(node.message, node.where) for node in programs])
    shapes = _input_shapes(file)
    layers = [_build_layer(node, shapes, phase, dialect, data or {}) for node in graph.nodes]
    built = [(layer.node, layer.module) for layer in layers]
    owners = resolve_sharing(built)
    if torch.device(device).type != "meta":
        given = {} if share is None else shared_blobs(built, share.params)
        new = [(owner.layer, owner.blob) for owner in owners if id(owner.blob) not in given]
        freeze(owners)
        kept = partial(kept_for_backward, layers, shapes)
        training = None if history is None else memory.Training(history, kept)
        memory.require(layers, shapes, new, torch.device(device), training)
        materialize(owners, built, torch.device(device), given)
    return Net(file, graph, layers, shapes, learnable(owners), phase, dialect, reason)


def _dialect(file: NetFile, share: Net | None) -> tuple[str, str]:
    if share is not None and file.dialect_reason == dialects.NO_EVIDENCE:
        return share.dialect, "like the net whose weights it shares"
    return file.dialect, file.dialect_reason


def _feedable(file: NetFile, state: NetState) -> bool:
    """Whether the net has an image in this state: a net-level input or a data layer."""
    kinds = registry.kinds()
    return bool(file.param.input) or any(
        layer.type in kinds and kinds[layer.type].role == "data" and phases.included(layer, state)
        for layer in file.param.layer
    )


def _build_layer(
    node: Node, shapes: dict[str, Shape], phase: str, dialect: str, options: SourceOptions
) -> LayerNode:
    shapes.update(_fitted(node, shapes))
    bottoms = [shapes[name] for name in node.bottoms]
    own_phase = Phase.Name(node.message.phase) if node.message.HasField("phase") else phase
    setup = Setup(node.message, bottoms, len(node.tops), own_phase, dialect, node.where, options)
    layer = _construct(node, setup)
    tops = _data_shapes(layer, setup) if isinstance(layer, DataLayer) else _meta_tops(layer)
    if len(tops) != len(node.tops):
        raise setup.error("wrong number of tops", found=len(node.tops), expected=len(tops))
    for name, shape in zip(node.tops, tops, strict=True):
        if fault := shape_fault(shape):
            raise setup.error(f"its top {name!r} {fault}", found=_sizes(shape), expected=_LIMIT)
    shapes.update(zip(node.tops, tops, strict=True))
    return LayerNode(node, layer)


def _construct(node: Node, setup: Setup) -> Layer:
    """The layer; numbers of its prototxt that torch or Python cannot compute with are its error."""
    try:
        return node.kind.cls(setup)
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


def _data_shapes(layer: DataLayer, setup: Setup) -> list[Shape]:
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


def _meta_tops(layer: Layer) -> list[Shape]:
    """Shapes of the tops, from running the layer's own forward on meta tensors."""
    setup = layer.setup
    try:
        return [top.shape for top in tops_of(layer, tuple(setup.bottoms))]
    except RlossError:
        raise
    except _NOT_COMPUTABLE as error:
        raise setup.error(
            "cannot take its bottoms",
            found=", ".join(map(_sizes, setup.bottoms)) + f" ({_first_line(error)})",
            expected="shapes that fit the layer's parameters",
            advice="check kernel sizes, strides and the sizes of the blobs above",
        ) from error


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
