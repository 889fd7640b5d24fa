"""Layers that training leaves as they are (freeze, freeze_batch_norm)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from rlossctl.errors import PrototxtError
from rlossctl.net import Net
from rlossctl.net.walk import LayerNode
from rlossctl.prototxt.messages import SolverParameter

NAMED = 8  # layers that an error names


def freeze(net: Net, param: SolverParameter) -> None:
    """Keeps blobs from learning and statistics from moving, as the solver says.

    Layers that `freeze` names do not change at all: their blobs get lr_mult 0 and no gradient (neither does a
    blob that they share), and those with running statistics use them, as in TEST. freeze_batch_norm keeps the
    statistics of all layers; their scale and shift still learn.

    Raises:
        PrototxtError: a pattern fits no layer with blobs, or no layer has statistics to keep.
    """
    layers = [layer for pattern in param.freeze for layer in _named(net, pattern)]
    blobs = {id(blob) for layer in layers for blob in layer.module.blobs}
    for layer in layers:
        layer.module.hold_statistics()
    for entry in net.learnable:
        if id(entry.tensor) in blobs:
            entry.tensor.requires_grad_(False)
    net.learnable = [
        replace(entry, lr_mult=0.0) if id(entry.tensor) in blobs else entry for entry in net.learnable
    ]
    # Not any(...), which would stop at the first one.
    if param.freeze_batch_norm and not sum([layer.module.hold_statistics() for layer in net.layers]):
        raise PrototxtError(
            "freeze_batch_norm has nothing to freeze",
            found="no layer with running statistics in the training net",
            expected="BatchNorm, or BN with four blobs",
            advice="leave freeze_batch_norm out of the solver prototxt",
        )


def _named(net: Net, pattern: str) -> Iterator[LayerNode]:
    fits = [layer for layer in net.layers if len(layer.module.blobs) and fnmatchcase(layer.name, pattern)]
    if not fits:
        names = list(net.params)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise PrototxtError(
            "freeze names no layer with weights",
            found=f"freeze: {pattern!r}",
            expected=f"a shell pattern for names such as {', '.join(names[:NAMED])}{more}",
            advice="correct freeze in the solver prototxt, or --freeze; conv1* stands for all that begin so",
        )
    yield from fits
