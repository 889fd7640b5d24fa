"""Loads other programs' checkpoints into our nets. One file per program says how its tensors are named."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlossctl.converters.importers.program import (
    IMAGENET,
    NO_LAYER,
    Colours,
    Fit,
    Program,
    Tensors,
    facts_of,
    renamed,
    unwrapped,
)
from rlossctl.errors import WeightsError
from rlossctl.weights import TensorFile

if TYPE_CHECKING:
    from rlossctl.net import Net
    from rlossctl.net.walk import LayerNode


def _programs() -> tuple[Program, ...]:
    """The PROGRAMS of every file here; a new one needs no other change."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
    )
    return tuple(program for module in modules for program in getattr(module, "PROGRAMS", ()))


PROGRAMS = _programs()
BACKBONES = ("backbone.", "encoder.")  # how the names of a classifier's layers begin in our nets
SCALED = "scaled"  # the layer in our nets that scales the image as the program's network expects it
SHOWN = 12

# A blob's module, tensor and shape; layers with the parts of their blobs.
Part = tuple[str, str, tuple[int, ...]]
Wanted = list[tuple["LayerNode", list[Part]]]


def recognise(file: TensorFile) -> Program:
    """The program that wrote a checkpoint.

    Raises:
        WeightsError: the program is unknown.
    """
    tensors = unwrapped(file.tensors)
    for program in PROGRAMS:
        if program.fits(tensors):
            return program
    names = list(tensors)
    raise WeightsError(
        "is a checkpoint from an unknown program",
        where=file.path,
        found=f"{len(names)} tensors: {', '.join(names[:4])}, ...",
        expected="; ".join(program.title for program in PROGRAMS),
        advice="name its tensors <layer>/<index> in a safetensors file, or add the program (docs/import.md)",
    )


def fit(file: TensorFile, given: Mapping[str, object] | None = None) -> Fit:
    """The net that a checkpoint fits, given the placeholders that the user set."""
    return recognise(file).config(facts_of(file, given))


class Filled(NamedTuple):
    """Notes for the user, and the layers that keep their fillers if the file has only a backbone."""

    notes: tuple[str, ...]
    kept: tuple[str, ...]


def fill(net: Net, file: TensorFile, given: Mapping[str, object] | None = None) -> Filled:
    """Copies a checkpoint's tensors into a net that comes with rlossctl.

    Args:
        given: placeholders that the user set, for facts that the file does not contain.

    Raises:
        WeightsError: the program is unknown, or tensors are missing, unexpected or have another shape. The
            error lists them all, and nothing is copied.
    """
    program = recognise(file)
    inside = _prefix(net) if program.head else ""
    tensors = renamed(program, file, inside)
    wanted, kept = [], []
    for layer in net.layers:
        parts = list(_wanted(layer))
        if any(tensors.shape(module, tensor) for module, tensor, _ in parts):
            wanted.append((layer, parts))
        elif inside and parts and not _is_fixed(layer) and not layer.name.startswith(inside):
            kept.append(layer.name)
        elif parts and not _is_fixed(layer):
            wanted.append((layer, parts))  # all of its tensors are missing
    unused = _unused(wanted, tensors)
    spare = [module for module in unused if inside and _is_head(program, module.removeprefix(inside))]
    problems = list(_misfits(wanted, tensors))
    problems += [
        f"unexpected {module}.{name}" for module in unused if module not in spare for name in unused[module]
    ]
    # A net in which nothing matches would read blue for red, and score a little less.
    if program.first != NO_LAYER and not any(re.fullmatch(program.first, layer.name) for layer, _ in wanted):
        problems.append(f"no layer that reads the image is called {program.first}")
    if problems:
        raise _error(file, program, net, problems)
    for layer, parts in wanted:
        _copy(layer, parts, tensors, program)
    notes = [f"recognised as {program.title} ({program.name}), saved under {file.inside or 'its top'}"]
    if SCALED in net.params:
        colours = program.colours(facts_of(file, given))
        _normalise(net, colours, file.path)
        notes += [colours.words] if colours.words else []
    if kept:
        notes.append(
            f"note: {len(kept)} layers without weights keep their fillers: {', '.join(kept[:4])}, ..."
        )
    if spare:
        notes.append(f"note: not used: {', '.join(spare)}")
    return Filled(tuple(notes), tuple(kept))


def _misfits(wanted: Wanted, tensors: Tensors) -> Iterator[str]:
    """Tensors that are missing or have another shape, one message each."""
    for _, parts in wanted:
        for module, tensor, shape in parts:
            found = tensors.shape(module, tensor)
            if found is None:
                yield f"missing {module}.{tensor}"
            elif found != shape:
                yield f"{module}.{tensor} is {_size(found)} in the file, {_size(shape)} in the net"


def _unused(wanted: Wanted, tensors: Tensors) -> dict[str, list[str]]:
    """The tensors that layers do not use, by module."""
    taken = {(module, tensor) for _, parts in wanted for module, tensor, _ in parts}
    left = {
        module: sorted(name for name in names if (module, name) not in taken)
        for module, names in tensors.by_module.items()
    }
    return {module: names for module, names in left.items() if names}


def _is_head(program: Program, module: str) -> bool:
    return any(re.fullmatch(pattern, module) for pattern in program.head)


def _prefix(net: Net) -> str:
    """How the names of a net's backbone begin; "" for a classifier itself."""
    return next((prefix for prefix in BACKBONES if any(name.startswith(prefix) for name in net.params)), "")


def _wanted(layer: LayerNode) -> Iterator[Part]:
    """(module, tensor, shape) for each blob of a layer that has its own tensor."""
    names = ("weight", "bias")
    module = layer.name
    if layer.type == "BatchNorm":
        names = ("running_mean", "running_var")
    elif layer.type == "Scale":
        module = layer.name.removesuffix("_scale")
    for name, blob in zip(names, layer.module.blobs, strict=False):
        yield module, name, tuple(blob.shape) or (1,)  # a PReLU with one slope for all channels


def _copy(layer: LayerNode, parts: list[Part], tensors: Tensors, program: Program) -> None:
    """Copies a layer's tensors into its blobs.

    For BatchNorm statistics, PyTorch keeps an average, and Caffe a sum and its weight. With moving average
    fraction f, the weight is 1 / (1 - f) after many batches; from then on both change alike.
    """
    from rlossctl.net.parameters import assign

    factor = 1.0
    if layer.type == "BatchNorm":
        factor = float(round(1 / (1 - layer.message.batch_norm_param.moving_average_fraction)))
        assign(layer.module.blobs[2], np.array([factor], np.float32))
    for (module, tensor, _), blob in zip(parts, layer.module.blobs, strict=False):
        values = tensors.values(module, tensor)
        if tensor == "weight" and re.fullmatch(program.first, layer.name):
            values = values[:, ::-1]  # RGB in PyTorch programs, BGR in Caffe
        assign(blob, np.ascontiguousarray(values * np.float32(factor) if factor != 1 else values))


def _normalise(net: Net, colours: Colours, where: str) -> None:
    """Sets the layer that maps BGR in 0..255, minus ImageNet's mean, to the program's normalised colours."""
    from rlossctl.net.parameters import assign

    usual, mean, std = (255 * np.array(values[::-1]) for values in (IMAGENET.mean, colours.mean, colours.std))
    blobs, values = net.params[SCALED], (1 / std, (usual - mean) / std)
    if len(blobs) < 2 and values[1].any():
        raise WeightsError(
            f"the net {net.name!r} cannot normalise colours as the program does",
            where=where,
            found=f"a layer {SCALED!r} without a bias",
            expected="a layer with a bias, to correct for a mean that is not ImageNet's",
            advice="leave out NET to use the net that fits, or add bias_term: true to that layer",
        )
    for blob, array in zip(blobs, values, strict=False):
        assign(blob, array.astype(np.float32))


def _is_fixed(layer: LayerNode) -> bool:
    """Whether a layer learns nothing, such as the input's scale or a bilinear zoom."""
    specs = layer.message.param
    return bool(specs) and all(spec.HasField("lr_mult") and spec.lr_mult == 0 for spec in specs)


def _error(file: TensorFile, program: Program, net: Net, problems: list[str]) -> WeightsError:
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return WeightsError(
        f"the checkpoint ({program.title}) does not fit the net {net.name!r}",
        where=file.path,
        found="; ".join([*problems[:SHOWN], *more]),
        expected="every tensor in the layer with its name, with the same shape",
        advice="give the net that it was trained as (or leave out NET to use the net that fits), and its "
        "number of classes: --set NUM_LABELS=...",
    )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
