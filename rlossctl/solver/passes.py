"""Passes forward and backward through the training net, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.net import Net
from rlossctl.net.layer import DataLayer
from rlossctl.net.net import Result
from rlossctl.postponed import Doubt, Numbers
from rlossctl.solver.machine.feed import DeviceFeed, may_be_drawn_ahead
from rlossctl.solver.machine.graphs import PassGraph, stacked
from rlossctl.solver.machine.precision import LossScale
from rlossctl.solver.machine.processes import Processes
from rlossctl.solver.telling import monitor
from rlossctl.solver.telling.debug import DebugInfo
from rlossctl.solver.telling.figures import Term, term_names
from rlossctl.solver.updating.schedules import Schedules
from rlossctl.solver.updating.term_gradients import Pulls


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        outputs: output blobs.
        pulls: sizes of the terms' gradients (see `Pulls`).
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
        schedules: of its losses.
        debug: prints every displayed pass blob by blob, if given.
        scale: multiplies the loss before the backward pass, if given.
        graphs: passes that are not displayed are replayed as CUDA graphs.
    """

    def __init__(
        self,
        net: Net,
        schedules: Schedules,
        debug: DebugInfo | None = None,
        scale: LossScale | None = None,
        *,
        graphs: bool = False,
    ) -> None:
        self._scale = scale
        self._schedules = schedules
        self._graph = PassGraph(net, scale is not None) if graphs and debug is None else None
        self._feeds: list[DeviceFeed] | None = None if net.device.type == "cuda" else []
        self._net = net
        self._debug = debug
        self._pulls = Pulls(net)
        self._terms = term_names(net)

    @property
    def pulls_at(self) -> str | None:
        """The blob at which pulls are measured, if there is one."""
        return self._pulls.blob

    def run(self, fed: Mapping[str, Tensor] | None, display: bool, iteration: int) -> Pass:
        """One pass forward and backward.

        Args:
            iteration: whose pass it is: how many updates were made.
            fed: blobs in place of the data layers'.
            display: whether its figures are shown: then the terms' gradients are measured, too.
        """
        if self._feeds is None:
            self._feeds = fed_ahead(self._net)
        plain = not (display and self.pulls_at) and self._schedules.full(iteration)
        if self._graph is not None and plain:
            blobs, files = self._net.draw(fed)
            if self._graph.takes(blobs):
                done = self._replayed(self._graph, blobs, files)
            else:
                done = self._computed(blobs, files, display, iteration, layer_by_layer=False)
        else:
            done = self._computed(fed, [], display, iteration, layer_by_layer=not plain)
        for feed in self._feeds if fed is None else ():
            feed.draw_ahead()
        return done

    def _computed(
        self,
        fed: Mapping[str, Tensor] | None,
        files: list[str],
        display: bool,
        iteration: int,
        *,
        layer_by_layer: bool,
    ) -> Pass:
        debug = self._debug if display else None
        doubts: list[Doubt] = []
        self._schedules.begin(iteration)
        plan = self._schedules.plan(iteration)
        with self._pulls.watching(display), self._schedules.watching(iteration):
            result = self._net.run(fed, watch=debug, doubts=doubts, plan=plan, layer_by_layer=layer_by_layer)
        self._schedules.measure(iteration, result.losses)
        numbers = _asked(stacked(result, doubts))
        pulls = {self._terms[top]: pull for top, pull in self._pulls.measure(result.losses).items()}
        if result.loss.requires_grad:
            loss = result.loss if self._scale is None else result.loss * self._scale.value
            loss.backward()
        if debug is not None:
            debug.after_backward(self._net)
        outputs = {name: blob.detach() for name, blob in result.outputs.items()}
        return Pass(outputs, pulls, self._weights(result), numbers, doubts, files or result.files)

    def _replayed(self, graph: PassGraph, blobs: Mapping[str, Tensor], files: list[str]) -> Pass:
        result = graph.forward(blobs)
        numbers = _asked(graph.values)
        graph.backward(1.0 if self._scale is None else self._scale.value)
        outputs = {name: blob.detach().clone() for name, blob in result.outputs.items()}
        return Pass(outputs, {}, self._weights(result), numbers, graph.doubts, files)

    def _weights(self, result: Result) -> dict[str, float]:
        return {self._terms[top]: weight for top, (_, weight) in result.losses.items()}

    def loss(self, iteration: int) -> float:
        """The loss of one pass forward, without a trace in gradients."""
        with torch.no_grad():
            self._schedules.begin(iteration)
            plan = self._schedules.plan(iteration)
            return self._net.run(None, plan=plan, layer_by_layer=True).loss.item()


def mean_terms(passes: Sequence[Pass]) -> dict[str, Term]:
    """The terms of the loss, averaged over the passes of one update."""
    return monitor.means([one.terms() for one in passes])


def mean_over(processes: Processes, terms: dict[str, Term]) -> dict[str, Term]:
    """The means of an update's terms over the processes that train together."""
    if processes.count == 1:
        return terms
    rows = processes.gather([term.value for term in terms.values()])
    named = [dict(zip(terms, row, strict=True)) for row in rows]
    return monitor.means(
        [{name: Term(value, terms[name].weight) for name, value in row.items()} for row in named]
    )


def fed_ahead(net: Net) -> list[DeviceFeed]:
    """Puts a feed between the net's data layers and their sources, so that batches wait on its device."""
    feeds = []
    memory_format = torch.channels_last if net.channels_last else torch.contiguous_format
    for layer in net.layers:
        source = net.sources.get(layer.name)
        if isinstance(layer.module, DataLayer) and may_be_drawn_ahead(source):
            feed = DeviceFeed(source, net.device, memory_format)
            net.sources[layer.name] = layer.module.source = feed
            feeds.append(feed)
    return feeds


def _asked(values: Tensor | None) -> Numbers | None:
    """The numbers of a pass, asked for before its backward pass is begun."""
    return None if values is None else Numbers(values)
