"""Builds a Net from messages: graph, layers on the meta device, shapes, sharing, and only then memory."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from rlossctl.net import memory
from rlossctl.net.coverage import MissingWeights, copy_covered
from rlossctl.net.draft import draft_net, inference_net
from rlossctl.net.graph import Node
from rlossctl.net.kept import kept_for_backward
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.net import Net
from rlossctl.net.origin import DataOverrides, NetOrigin
from rlossctl.net.parameters import blob_of, freeze, learnable, materialize, shared_blobs, tie
from rlossctl.net.walk import LayerNode
from rlossctl.prototxt import phase as phases
from rlossctl.prototxt.text import NetFile
from rlossctl.weights import load_weights

if TYPE_CHECKING:
    from rlossctl.data.sources.stream import SourceOptions

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
    """Builds a net for prediction; see `inference_net`."""
    options = (data or DataOverrides()).options()
    return build_net(inference_net(file), device=device, data=options, phase="TEST")


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
    like = None if share is None else share.dialect
    draft = draft_net(file, _layer, data=data, phase=phase, like=like)
    layers, owners = [LayerNode(entry.node, entry.layer) for entry in draft.layers], draft.owners
    tie(owners)
    if torch.device(device).type != "meta":
        built = [(entry.node, entry.layer) for entry in draft.layers]
        given = {} if share is None else shared_blobs(built, share.params)
        new = [(owner.layer, blob_of(owner)) for owner in owners if id(blob_of(owner)) not in given]
        freeze(owners)
        kept = partial(kept_for_backward, layers, draft.shapes)
        training = None if history is None else memory.Training(history, kept)
        memory.require(layers, draft.shapes, new, torch.device(device), training)
        materialize(owners, built, torch.device(device), given)
    return Net(draft, layers, learnable(owners))


def _layer(node: Node, setup: Setup) -> Layer:
    return node.kind.cls(setup)
