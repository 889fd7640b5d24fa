"""Runs of layers, each of which torch.compile makes one function.

Losses, metrics and data layers stay as they are: they check labels and draw batches. So do types that are
never exported, which may run anything, layers that say so (`Layer.compilable`), and tops with a loss weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlossctl.net.graph import Node
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.walk import LayerNode, Numbered, walk
from rlossctl.prototxt.messages import LayerParameter


class Compiled(Layer):
    """Several layers as one, whose bottoms are what they read from outside and whose tops are read outside.

    Args:
        layers: with their numbers.
        node: in place of theirs.
    """

    low_precision = True  # each layer inside gets what it takes

    def __init__(self, setup: Setup, layers: Sequence[Numbered], node: Node, terms: Terms) -> None:
        super().__init__(setup)
        self.layers = tuple(layers)
        self._run = _compiled(_function(layers, node, terms.precision), terms.options)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        from torch._dynamo.exc import TorchDynamoException

        try:
            with warnings.catch_warnings():  # torch looks at the gradients of all inputs, and warns of that
                warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that")
                return self._run(*values)
        except TorchDynamoException as error:
            raise self.error(
                "torch.compile cannot compile these layers",
                found=_reason(error),
                expected="layers that it can trace, and a C++ compiler or Triton",
                advice="train without --compile (in Python: without compile())",
            ) from error


def _reason(error: Exception) -> str:
    """What a compiler's error says first; torch wraps that of a backend."""
    cause = getattr(error, "inner_exception", error)
    first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    return f"{type(cause).__name__}: {first}"


class Terms(NamedTuple):
    """How layers are compiled.

    Attributes:
        outputs: blobs that are read after the last layer.
        precision: of layers that may compute in 16 bits.
        options: of torch.compile.
    """

    outputs: Sequence[str]
    precision: torch.dtype | None
    options: dict[str, Any]


def compiled_layers(layers: Sequence[LayerNode], terms: Terms) -> list[Numbered]:
    """The layers with their numbers; runs of those that can be compiled have become one with the first's."""
    found: list[Numbered] = []
    for can, run in groupby(enumerate(layers), key=lambda pair: _can_be_compiled(pair[1])):
        group = list(run)
        found += [_joined(group, layers[group[-1][0] + 1 :], terms)] if can else group
    return found


def _can_be_compiled(layer: LayerNode) -> bool:
    return layer.node.kind.exported and layer.module.compilable and not any(layer.node.loss_weights)


def _joined(group: Sequence[Numbered], later: Sequence[LayerNode], terms: Terms) -> Numbered:
    number, first = group[0]
    layers = [layer for _, layer in group]
    wanted = {*terms.outputs, *_from_outside(later)}
    bottoms = tuple(dict.fromkeys(_from_outside(layers)))
    tops = tuple(name for name in dict.fromkeys(top for one in layers for top in one.tops) if name in wanted)
    name = " to ".join(dict.fromkeys((first.name, layers[-1].name)))
    setup = replace(
        first.module.setup, message=LayerParameter(name=name, type="torch.compile"), tops=len(tops)
    )
    node = replace(
        first.node,
        name=name,
        message=setup.message,
        bottoms=bottoms,
        tops=tops,
        loss_weights=(0.0,) * len(tops),
        blocked=frozenset(),
    )
    return number, LayerNode(node, Compiled(setup, group, node, terms))


def _from_outside(layers: Sequence[LayerNode]) -> Iterator[str]:
    """Blobs that these layers read and did not write before."""
    written: set[str] = set()
    for layer in layers:
        yield from (name for name in layer.bottoms if name not in written)
        written.update(layer.tops)


def _function(
    layers: Sequence[Numbered], node: Node, precision: torch.dtype | None
) -> Callable[..., tuple[Tensor, ...]]:
    def run(*values: Tensor) -> tuple[Tensor, ...]:
        blobs = dict(zip(node.bottoms, values, strict=True))
        for _ in walk(layers, blobs, {}, precision=precision):
            pass
        return tuple(blobs[name] for name in node.tops)

    return run


def _compiled(
    function: Callable[..., tuple[Tensor, ...]], options: dict[str, Any]
) -> Callable[..., tuple[Tensor, ...]]:
    """With one graph, or an error; random numbers are those of the layers as they are."""
    chosen: dict[str, Any] = {"fullgraph": True, **options}
    if chosen.get("backend", "inductor") == "inductor":
        chosen.setdefault("options", {"fallback_random": True})
    return torch.compile(function, **chosen)
