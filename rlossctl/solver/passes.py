"""Passes forward and backward through the training net, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.net import Net
from rlossctl.net.graph import AUTOMATIC
from rlossctl.net.net import Result
from rlossctl.postponed import Doubt, Numbers
from rlossctl.solver import monitor
from rlossctl.solver.debug import DebugInfo
from rlossctl.solver.figures import Term
from rlossctl.solver.precision import LossScale
from rlossctl.solver.term_gradients import Pulls


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        outputs: output blobs.
        pulls: norms of the terms' gradients.
        weights: the loss weights of the terms.
        numbers: the terms, then the doubts' answers.
        doubts: checks whose answers were not read in the pass.
        files: the label files of its batch, where they are known.
    """

    outputs: dict[str, Tensor]
    pulls: dict[str, float]
    weights: dict[str, float]
    numbers: Numbers | None
    doubts: list[Doubt]
    files: list[str]

    def terms(self) -> dict[str, Term]:
        """The terms of the loss; on a GPU it waits for the forward pass, but not for what follows.

        Raises:
            NetError: a check has failed that was postponed.
        """
        values = [] if self.numbers is None else self.numbers.read()
        for doubt, wrong in zip(self.doubts, values[len(self.weights) :], strict=True):
            if wrong:
                self._refuse(doubt)
        return {
            name: Term(value, weight)
            for value, (name, weight) in zip(values, self.weights.items(), strict=False)
        }

    def _refuse(self, doubt: Doubt) -> None:
        try:
            doubt.refuse()
        except NetError as error:
            error.name_files(self.files)
            raise


class Passes:
    """Runs the training net forward and backward; gradients are added to those that are there.

    Args:
        net: the training net.
        debug: prints every displayed pass blob by blob, if given.
        scale: multiplies the loss before the backward pass, if given.
    """

    def __init__(self, net: Net, debug: DebugInfo | None = None, scale: LossScale | None = None) -> None:
        self._scale = scale
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
        doubts: list[Doubt] = []
        with self._pulls.watching(display):
            result = self._net.run(fed, watch=debug, doubts=doubts)
        numbers = asked(result, doubts)
        pulls = {self._terms[top]: norm for top, norm in self._pulls.measure(result.losses).items()}
        if result.loss.requires_grad:
            loss = result.loss if self._scale is None else result.loss * self._scale.value
            loss.backward()
        if debug is not None:
            debug.after_backward(self._net)
        outputs = {name: blob.detach() for name, blob in result.outputs.items()}
        weights = {self._terms[top]: weight for top, (_, weight) in result.losses.items()}
        return Pass(outputs, pulls, weights, numbers, doubts, result.files)

    def loss(self) -> float:
        """The loss of one pass forward, without a trace in gradients."""
        with torch.no_grad():
            return self._net.run(None).loss.item()


def mean_terms(passes: Sequence[Pass]) -> dict[str, Term]:
    """The terms of the loss, averaged over the passes of one update."""
    return monitor.means([one.terms() for one in passes])


def asked(result: Result, doubts: Sequence[Doubt]) -> Numbers | None:
    """The terms and the doubts' answers, asked for in one copy, before the backward pass is begun."""
    values = [value.detach() for value, _ in result.losses.values()]
    values += [doubt.wrong.to(torch.float32) for doubt in doubts]
    return Numbers(torch.stack(values)) if values else None


def _term_names(net: Net) -> dict[str, str]:
    """Weighted top -> what figures call it: a top that the prototxt does not name goes by its layer."""
    return {
        top: layer.name if top.startswith(AUTOMATIC) and layer.name not in net.loss_weights else top
        for layer in net.layers
        for top in layer.tops
    }
