"""The tests of a run: every test net's mean outputs between two updates (Solver::Test)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from rlossctl.net import Net
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.debug import DebugInfo
from rlossctl.solver.figures import TestFigures
from rlossctl.solver.log import Log
from rlossctl.solver.monitor import Requests


class Tests:
    """Runs the test nets for their test_iter batches.

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

    @torch.no_grad()
    def run(self, index: int, iteration: int, snapshot: Callable[[], object]) -> TestFigures | None:
        """Mean outputs of one test net; None if a request to stop came in between.

        Args:
            snapshot: called for each request for a snapshot.
        """
        net, batches = self.nets[index], self._param.test_iter[index]
        self._log.info(f"Iteration {iteration}, Testing net (#{index})")
        totals: dict[str, np.ndarray] = {}
        loss = 0.0
        for _ in range(batches):
            if not self._goes_on(snapshot):
                self._log.info("Test interrupted.")
                return None
            result = net.run(None, watch=self._debug)
            loss += result.loss.item() if self._param.test_compute_loss else 0.0
            for name, blob in result.outputs.items():
                values = blob.detach().double().flatten().cpu().numpy()
                totals[name] = totals[name] + values if name in totals else values
        scores = {name: (total / batches).tolist() for name, total in totals.items()}
        mean = loss / batches if self._param.test_compute_loss and batches else None
        return TestFigures(iteration, index, mean, scores)

    def _goes_on(self, snapshot: Callable[[], object]) -> bool:
        while (request := self._requests.take()) is not None:
            if request == "snapshot":
                snapshot()
        return not self._requests.stop
