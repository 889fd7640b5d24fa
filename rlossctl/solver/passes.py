"""Passes forward and backward through the training net, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rlossctl.net import Net
from rlossctl.net.graph import AUTOMATIC
from rlossctl.solver import monitor
from rlossctl.solver.debug import DebugInfo
from rlossctl.solver.figures import Term
from rlossctl.solver.term_gradients import Pulls


class Pass(NamedTuple):
    """One pass: weighted tops with their weights, output blobs, norms of the terms' gradients."""

    losses: dict[str, tuple[Tensor, float]]
    outputs: dict[str, Tensor]
    pulls: dict[str, float]


class Passes:
    """Runs the training net forward and backward; gradients are added to those that are there.

    Args:
        net: the training net.
        debug: prints every displayed pass blob by blob, if given.
    """

    def __init__(self, net: Net, debug: DebugInfo | None = None) -> None:
        self._net = net
        self._debug = debug
        self._pulls = Pulls(net)
        self._terms = _term_names(net)

    @property
    def pulls_at(self) -> str | None:
        """The blob at which pulls are measured, if there is one."""
        return self._pulls.blob

    def run(self, fed: Mapping[str, Tensor] | None, display: bool) -> Pass:
        """One pass forward and backward.

        Args:
            fed: blobs in place of the data layers'.
            display: whether its figures are shown: then the terms' gradients are measured, too.
        """
        debug = self._debug if display else None
        with self._pulls.watching(display):
            result = self._net.run(fed, watch=debug)
        pulls = {self._terms[top]: norm for top, norm in self._pulls.measure(result.losses).items()}
        if result.loss.requires_grad:
            result.loss.backward()
        if debug is not None:
            debug.after_backward(self._net)
        outputs = {name: blob.detach() for name, blob in result.outputs.items()}
        losses = {
            self._terms[top]: (value.detach(), weight) for top, (value, weight) in result.losses.items()
        }
        return Pass(losses, outputs, pulls)

    def loss(self) -> float:
        """The loss of one pass forward, without a trace in gradients."""
        with torch.no_grad():
            return self._net.run(None).loss.item()


def mean_terms(passes: Sequence[Pass]) -> dict[str, Term]:
    """The terms of the loss, averaged over the passes of one update."""
    return monitor.means([_values(one.losses) for one in passes])


def _values(losses: Mapping[str, tuple[Tensor, float]]) -> dict[str, Term]:
    """The terms of a pass as numbers, fetched from the device in one go."""
    if not losses:
        return {}
    values = torch.stack([value for value, _ in losses.values()]).tolist()
    return {
        name: Term(value, weight) for value, (name, (_, weight)) in zip(values, losses.items(), strict=True)
    }


def _term_names(net: Net) -> dict[str, str]:
    """Weighted top -> what figures call it: a top that the prototxt does not name goes by its layer."""
    return {
        top: layer.name if top.startswith(AUTOMATIC) and layer.name not in net.loss_weights else top
        for layer in net.layers
        for top in layer.tops
    }
