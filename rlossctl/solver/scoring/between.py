"""The tests of a run: every test net's outputs between two updates (Solver::Test)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence

import numpy as np
import torch

from rlossctl.errors import NetError
from rlossctl.net import Net
from rlossctl.net.net import Result
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.scoring.whole_list import Batch, list_metrics, whole_list
from rlossctl.solver.telling.debug import DebugInfo
from rlossctl.solver.telling.figures import TestFigures
from rlossctl.solver.telling.log import Log
from rlossctl.solver.telling.monitor import Requests


class Tests:
    """Runs the test nets for their test_iter batches, or over their whole lists.

    A net with a layer that counts over the whole list goes over it, and every other with test_whole_list:
    from the first sample to the last, each once. Such a layer's last values count; other outputs are means
    over the samples.

    Args:
        param: the solver's message.
        nets: the test nets, which use the training net's weights.
        requests: asked between two batches.
        log: takes Caffe's lines.
        debug: prints every pass blob by blob, if given.
    """

    def __init__(
        self,
        param: SolverParameter,
        nets: Sequence[Net],
        requests: Requests,
        log: Log,
        debug: DebugInfo | None = None,
    ) -> None:
        self.nets = list(nets)
        self._param = param
        self._requests = requests
        self._log = log
        self._debug = debug

    def due(self, iteration: int) -> bool:
        """Whether there is a test before this update."""
        return self._param.test_interval > 0 and iteration % self._param.test_interval == 0

    def whole(self, net: Net) -> bool:
        """Whether a test of this net goes over its whole list."""
        return self._param.test_whole_list or bool(list_metrics(net))

    @torch.no_grad()
    def run(
        self, index: int, iteration: int, snapshot: Callable[[], object], tell: Callable[[int], object]
    ) -> TestFigures | None:
        """Outputs of one test net; None if a request to stop came in between.

        Args:
            snapshot: called for each request for a snapshot.
            tell: called with the number of passes so far.
        """
        net = self.nets[index]
        self._log.info(f"Iteration {iteration}, Testing net (#{index})")
        means = _Means(net)
        with contextlib.closing(self._batches(index)) as batches:
            for number, batch in enumerate(batches, start=1):
                if not self._goes_on(snapshot):
                    self._log.info("Test interrupted.")
                    return None
                means.add(self._pass(net, batch), 1 if batch is None else batch.samples)
                tell(number)
        loss = means.loss() if self._param.test_compute_loss else None
        counts = next((metric.counts() for _, metric in list_metrics(net)), None)
        return TestFigures(iteration, index, loss, means.outputs(), tuple(means.last), counts)

    def _batches(self, index: int) -> Generator[Batch | None, None, None]:
        """What a net is fed; None leaves it to its data layers."""
        net = self.nets[index]
        if self.whole(net):
            yield from whole_list(net)
        else:
            yield from (None for _ in range(self._param.test_iter[index]))

    def _pass(self, net: Net, batch: Batch | None) -> Result:
        try:
            return net.run(None if batch is None else batch.blobs, watch=self._debug)
        except NetError as error:
            error.name_files([] if batch is None else list(batch.labels))
            raise

    def _goes_on(self, snapshot: Callable[[], object]) -> bool:
        while (request := self._requests.take()) is not None:
            if request == "snapshot":
                snapshot()
        return not self._requests.stop


class _Means:
    """The outputs of a test: means over its batches or samples, but the last values of list metrics.

    Attributes:
        last: the tops of list metrics, by name.
    """

    def __init__(self, net: Net) -> None:
        self._loss = 0.0
        self._weight = 0
        self._totals: dict[str, np.ndarray] = {}
        self.last: dict[str, list[float]] = {}
        self._counting = {top for layer, _ in list_metrics(net) for top in layer.tops}
        for _, metric in list_metrics(net):
            metric.restart()

    def add(self, result: Result, weight: int) -> None:
        """One pass, which stands for so many."""
        self._weight += weight
        self._loss += result.loss.item() * weight
        for name, blob in result.outputs.items():
            values = blob.detach().double().flatten().cpu().numpy()
            if name in self._counting:
                self.last[name] = values.tolist()
                continue
            values = values * weight
            self._totals[name] = self._totals[name] + values if name in self._totals else values

    def loss(self) -> float | None:
        """The mean objective; None before the first pass."""
        return self._loss / self._weight if self._weight else None

    def outputs(self) -> dict[str, list[float]]:
        """Output blob -> its values, in Caffe's order."""
        means = {name: (total / self._weight).tolist() for name, total in self._totals.items()}
        return dict(sorted({**means, **self.last}.items()))
