"""caffe.SGDSolver and the others: our solver as pycaffe's scripts drive it (_caffe.cpp, solver.cpp)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlossctl.net import DataOverrides
from rlossctl.pycaffe import mode
from rlossctl.pycaffe.arguments import Path, checked_file
from rlossctl.pycaffe.consent import consented
from rlossctl.pycaffe.kept import KeptNet
from rlossctl.pycaffe.log import to_stderr
from rlossctl.pycaffe.net import Net, user_errors
from rlossctl.pycaffe.proto import caffe_pb2
from rlossctl.solver.load import build_solver
from rlossctl.solver.reading.files import SolverFile, SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.telling.figures import Resumed, StepFigures
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.log import Log


class Solver:
    """A solver of the type that its prototxt names.

    Attributes:
        net: the training net.
        test_nets: the test nets, which use its weights.

    Raises:
        RuntimeError: the file cannot be opened.
        RlossError: it cannot be used.
    """

    type: str | None = None  # in place of the prototxt's

    def __init__(self, param_file: Path) -> None:
        file: SolverFile = SolverOrigin(checked_file(param_file)).read()
        if self.type is not None:
            file = file.changed(type=self.type)
        options = TrainOptions(device=mode.device(), workers=0, seed=_seed(file))
        with user_errors(), consented():
            self._solver = build_solver(file, DataOverrides(), options, log=Log([to_stderr]), adapt=KeptNet)
        self._kept = [net for net in (self._solver.net, *self._solver.test_nets) if isinstance(net, KeptNet)]
        for net in self._kept[1:]:
            net.look_through(self._kept[0])
        self.net = Net.of(self._kept[0])
        self.test_nets = [Net.of(net) for net in self._kept[1:]]
        self._calls = _Calls(self._kept)
        self._solver.listeners.append(self._calls)

    @property
    def iter(self) -> int:
        """Number of updates made."""
        return self._solver.iter

    @property
    def param(self) -> Any:
        """A copy of the SolverParameter."""
        return caffe_pb2.SolverParameter.FromString(self._solver.param.SerializeToString())

    def step(self, iterations: int) -> None:
        """Makes so many updates, with the tests and snapshots that fall due."""
        self._begin()
        with user_errors(), consented():
            self._solver.step(iterations)

    def solve(self, resume_file: Path | None = None) -> None:
        """Trains until max_iter, from a solver state if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        self._begin()
        with user_errors(), consented():
            self._solver.solve()

    def apply_update(self) -> None:
        """One update from the gradients that the training net's learned blobs hold."""
        self._begin()
        self._kept[0].lend_gradients()
        self._solver.apply_update()
        self._calls.show_update(self._solver.updater.last_diffs())

    def snapshot(self) -> None:
        """Writes weights and solver state."""
        self._begin()
        self._solver.snapshot()

    def restore(self, state_file: Path) -> None:
        """Goes on from a solver state."""
        self._begin()
        self._solver.restore(checked_file(state_file))

    def add_callback(
        self, on_start: Callable[[], object], on_gradients_ready: Callable[[], object] | None = None
    ) -> None:
        """Calls functions before each update, and when its gradients are there."""
        self._calls.on_start.append(on_start)
        if on_gradients_ready is not None:
            self._calls.on_gradients_ready.append(on_gradients_ready)

    def share_weights(self, net: Net) -> None:
        """The net uses the training net's weights from here on."""
        net.share_with(self.net)

    def _begin(self) -> None:
        """Nets and update rule go to the device that is set, and see what the script wrote and shared."""
        for net in self._kept:
            net.move(mode.device())
            net.write_back()
        self._solver.updater.follow(self._kept[0].learnable)
        self._calls.diffs = self._solver.updater.last_diffs


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    type = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    type = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad."""

    type = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp."""

    type = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta."""

    type = "AdaDelta"


class AdamSolver(Solver):
    """Adam."""

    type = "Adam"


def get_solver(filename: Path) -> Solver:
    """The solver of a prototxt."""
    return Solver(filename)


class _Calls(Listener):
    """Calls the script's functions, and shows in the learned blobs' `diff` what an update subtracted."""

    def __init__(self, nets: list[KeptNet]) -> None:
        self._nets = nets
        self.on_start: list[Callable[[], object]] = []
        self.on_gradients_ready: list[Callable[[], object]] = []
        self.diffs: Callable[[], list[Any]] = list

    def updating(self, iteration: int) -> None:
        """An update begins."""
        for call in self.on_start:
            call()

    def applying(self, iteration: int) -> None:
        """The gradients are there."""
        for call in self.on_gradients_ready:
            call()

    def updated(self, figures: StepFigures) -> None:
        """An update was made."""
        self.show_update(self.diffs())

    def resumed(self, snapshot: Resumed) -> None:
        """Training goes on from a snapshot."""
        for net in self._nets:
            net.weights_changed()

    def show_update(self, diffs: list[Any]) -> None:
        """Writes what was subtracted into the training net's gradients (Caffe computes it in place)."""
        first = self._nets[0]
        for entry, diff in zip(first.learnable, diffs, strict=True):
            gradient = first.wiring.learned[id(entry.tensor)].gradient
            gradient.tensor().copy_(diff.reshape(-1))
            gradient.overwritten()
        for net in self._nets:
            net.weights_changed()


def _seed(file: SolverFile) -> int | None:
    return None if file.param.random_seed >= 0 else mode.seed()
