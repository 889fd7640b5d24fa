"""Checkpoints of other programs in nets of ours. One file per program says how its tensors are named."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from rlossctl.converters.importers import gatedcrf, rloss, segmentation, torchvision
from rlossctl.converters.importers.source import Source, Tensors, renamed, unwrapped

from rlossctl.errors import WeightsError
from rlossctl.net import Net
from rlossctl.net.net import LayerNode
from rlossctl.net.parameters import assign
from rlossctl.weights import TensorFile

SOURCES: tuple[Source, ...] = (*rloss.SOURCES, *segmentation.SOURCES, *gatedcrf.SOURCES, *torchvision.SOURCES)
BACKBONE = "backbone."
STD_BGR = (0.225, 0.224, 0.229)  # of ImageNet's colours in 0..1
SCALED = "scaled"  # the layer that divides the image by its deviations, in our nets of this kind
SHOWN = 12


def recognise(file: TensorFile) -> Source:
    """The program that wrote a checkpoint.

    Raises:
        WeightsError: none of those that are known.
    """
    tensors = unwrapped(file.tensors)
    for source in SOURCES:
        if source.fits(tensors):
            return source
    names = list(tensors)
    raise WeightsError(
        "is a checkpoint of a program that is not known here",
        where=file.path,
        found=f"{len(names)} tensors: {', '.join(names[:4])}, ...",
        expected="; ".join(source.title for source in SOURCES),
        advice="rename its tensors to <layer>/<index> in a safetensors file, or add its names (docs/import.md)",
    )


def fill(net: Net, file: TensorFile) -> tuple[str, ...]:
    """Copies a checkpoint's tensors into a net of configs/, and returns notes.

    Raises:
        WeightsError: the program is not known, or tensors are missing, unexpected or of another shape: all
            of them are listed, and nothing is copied.
    """
    source = recognise(file)
    inside = bool(source.head) and any(name.startswith(BACKBONE) for name in net.params)
    tensors = renamed(source, file, BACKBONE if inside else "")
    wanted = [(layer, list(_wanted(layer, tensors))) for layer in net.layers if len(layer.module.blobs)]
    left = {module: set(names) for module, names in tensors.by_module.items()}
    problems, kept = [], []
    for layer, parts in wanted:
        if not any(tensors.shape(module, tensor) for module, tensor, _ in parts):
            if _is_fixed(layer) or (inside and not layer.name.startswith(BACKBONE)):
                kept += [] if _is_fixed(layer) else [layer.name]
                continue
        for module, tensor, shape in parts:
            found = tensors.shape(module, tensor)
            left.get(module, set()).discard(tensor)
            if found is None:
                problems.append(f"missing {module}.{tensor}")
            elif found != shape:
                problems.append(f"{module}.{tensor} is {_size(found)} in the file, {_size(shape)} in the net")
    unused = {module: sorted(names) for module, names in left.items() if names}
    spare = [module for module in unused if inside and _is_head(source, module)]
    problems += [
        f"unexpected {module}.{name}" for module in unused if module not in spare for name in unused[module]
    ]
    if problems:
        raise _misfit(file, source, net, problems)
    for layer, parts in wanted:
        if layer.name not in kept and not _is_fixed(layer):
            _copy(layer, parts, tensors, source)
        elif layer.name == SCALED:
            assign(layer.module.blobs[0], np.array([1 / (255 * std) for std in STD_BGR], np.float32))
    notes = [f"recognised as {source.title} ({source.name}), saved under {file.inside or 'its top'}"]
    if kept:
        notes.append(
            f"note: {len(kept)} layers without weights keep their fillers: {', '.join(kept[:4])}, ..."
        )
    if spare:
        notes.append(f"note: not used: {', '.join(spare)}")
    return tuple(notes)


def _is_head(source: Source, module: str) -> bool:
    return any(re.fullmatch(pattern, module.removeprefix(BACKBONE)) for pattern in source.head)


def _wanted(layer: LayerNode, tensors: Tensors) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(module, tensor, shape) for each blob of a layer that has a tensor of its own."""
    names = ("weight", "bias")
    module = layer.name
    if layer.type == "BatchNorm":
        names = ("running_mean", "running_var")
    elif layer.type == "Scale":
        module = layer.name.removesuffix("_scale")
    for name, blob in zip(names, layer.module.blobs, strict=False):
        yield module, name, tuple(blob.shape)


def _copy(layer: LayerNode, parts: list, tensors: Tensors, source: Source) -> None:
    """PyTorch keeps an average where Caffe keeps a sum and its weight: at fraction f, the weight is 1 / (1 - f)
    after many batches, and then both move alike."""
    factor = 1.0
    if layer.type == "BatchNorm":
        factor = float(round(1 / (1 - layer.message.batch_norm_param.moving_average_fraction)))
        assign(layer.module.blobs[2], np.array([factor], np.float32))
    for (module, tensor, _), blob in zip(parts, layer.module.blobs, strict=False):
        values = tensors.values(module, tensor)
        if tensor == "weight" and re.fullmatch(source.first, layer.name):
            values = values[:, ::-1]  # RGB in PyTorch's programs, BGR in Caffe's
        assign(blob, np.ascontiguousarray(values * np.float32(factor) if factor != 1 else values))


def _is_fixed(layer: LayerNode) -> bool:
    """Whether nothing of a layer is learnt: the input's scale, bilinear zooms."""
    specs = layer.message.param
    return bool(specs) and all(spec.HasField("lr_mult") and spec.lr_mult == 0 for spec in specs)


def _misfit(file: TensorFile, source: Source, net: Net, problems: list[str]) -> WeightsError:
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return WeightsError(
        f"the checkpoint ({source.title}) does not fit the net {net.name!r}",
        where=file.path,
        found="; ".join([*problems[:SHOWN], *more]),
        expected="every tensor in the layer of its name, in its shape",
        advice="give the net that it was trained as (without NET the fitting one of configs/ is taken), and its "
        "number of classes: --set NUM_LABELS=...",
    )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
