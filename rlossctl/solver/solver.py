"""Caffe's training loop (Solver::Step, Solve, Test, Snapshot, Restore) over a Net."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rlossctl.errors import PrototxtError
from rlossctl.net import Net
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.machine.precision import precision_of, scale_of
from rlossctl.solver.machine.processes import ALONE, Processes, share
from rlossctl.solver.machine.speed import Speed
from rlossctl.solver.passes import Pass, Passes, mean_over, mean_terms
from rlossctl.solver.scoring.best import Best
from rlossctl.solver.scoring.between import Tests
from rlossctl.solver.scoring.swallowed import Swallowed
from rlossctl.solver.snapshots.saving import Progress, Saving
from rlossctl.solver.snapshotting import Snapshots
from rlossctl.solver.starting import start_from
from rlossctl.solver.telling import monitor
from rlossctl.solver.telling.debug import DebugInfo
from rlossctl.solver.telling.figures import Clip, Improved, StepFigures, Term, TestFigures
from rlossctl.solver.telling.listeners import Advice, CaffeLines, JsonLines, Listener
from rlossctl.solver.telling.log import Log, Stopwatch, number, warnings_to_stderr
from rlossctl.solver.undo import Undo
from rlossctl.solver.updating import policies
from rlossctl.solver.updating.average import Average
from rlossctl.solver.updating.freezing import freeze
from rlossctl.solver.updating.schedules import Schedules
from rlossctl.solver.updating.updates import Updater
from rlossctl.words import counted


class _Passed(NamedTuple):
    """The passes of one update: the last one, the terms of all, the objective, and what display shows."""

    last: Pass
    terms: dict[str, Term]
    loss: float
    shown: dict[str, list[float]] | None


class Solver:
    """Trains a net as Caffe's solver of the same prototxt does. Made by `rlossctl.load_solver`.

    `update` makes one update and returns its figures; `step` makes several, with the tests and snapshots that
    fall due; `solve` goes on until max_iter.

    Attributes:
        net: the training net.
        test_nets: the test nets; they use the training net's weights.
        param: the SolverParameter.
        progress: how far the run is, its id and seed; `restore` goes on with those of the snapshot.
        saving: writes its snapshots.
        updater: the update rule with its memory.
        average: the moving average of the weights that tests use, where ema_decay is set.
        requests: what signals asked for.
        log: takes Caffe's log lines and the JSON lines.
        best: watches the output of the tests that `monitor` names.
        swallowed: watches for classes that are not predicted any more.
        stopped: whether SIGINT, SIGTERM or `patience` ended the last `solve` early.
        speed: how it runs.
        signal: the number of the signal that did, 0 if none.
        listeners: who is told the figures, in this order; at first those that write them into `log`.
        processes: those that train together; by itself by default.
    """

    def __init__(
        self,
        param: SolverParameter,
        net: Net,
        test_nets: Sequence[Net] = (),
        *,
        prefix: str = "snapshot",
        seed: int = 0,
        log: Log | None = None,
        speed: Speed | None = None,
        processes: Processes = ALONE,
    ) -> None:
        freeze(net, param)
        share(net, param, processes)
        self.processes = processes
        self.param = param
        self.net = net
        self.test_nets = list(test_nets)
        self.log = log or Log([warnings_to_stderr])
        self.updater = Updater(param, net.learnable, net.dialect)
        self.average = Average(param, net)
        self.requests = monitor.Requests()
        self.progress = Progress(seed=seed)
        self.stopped = False
        self.signal = 0
        self.swallowed = Swallowed(self.log, net)
        self.listeners: list[Listener] = [
            self.swallowed,  # a warning stands above the figures that do not show it
            CaffeLines(self.log, param, net, self.test_nets),
            JsonLines(self.log),
            Advice(self.log, net),
        ]
        nets = [net, *self.test_nets]
        debug = DebugInfo(self.log) if param.debug_info else None
        self._smoothed = monitor.SmoothedLoss(max(1, param.average_loss))
        self._keep_smoothed = False
        self.speed = speed or Speed()
        net.precision = precision_of(param)
        if self.speed.compiled:
            net.compile()
        self._scale = scale_of(param)
        self._schedules = Schedules(param, net, self.log)
        self._passes = Passes(net, self._schedules, debug, self._scale, graphs=self.speed.cuda_graphs)
        self._tests = Tests(param, self.test_nets, self.requests, self.log, debug)
        self.best = Best(param, self.test_nets if processes.first else None)
        self._undo = Undo(nets, self._smoothed, self._schedules)
        self.saving = Saving(param, nets, self.updater, self.average, self.log, prefix, self._scale)
        self._snapshots = Snapshots(
            self.saving, self.progress, self._undo, self.average, self.listeners, self.log
        )
        self._torn = False

    @property
    def iter(self) -> int:
        """Number of updates made."""
        return self.progress.iter

    @property
    def history(self) -> list[Tensor]:
        """The update rule's memory, in the order of a solverstate."""
        return self.updater.history

    def step(self, iterations: int = 1, inputs: Mapping[str, ArrayLike] | None = None) -> dict[str, Tensor]:
        """Makes `iterations` updates, with the tests and snapshots that fall due (Solver::Step).

        Args:
            iterations: number of updates.
            inputs: blobs that replace the data layers in every pass, also in each of the iter_size passes.

        Returns:
            The output blobs of the last pass, detached; empty if there was none. `listeners` are told the
            figures of every update.

        Raises:
            RlossError: the loss is not finite; the weights are then those of the iteration before.
        """
        self._begin()
        fed = self._inputs(inputs)
        outputs: Mapping[str, Tensor] = {}
        with self._snapshots.ended(self.processes):
            for _ in range(iterations):
                if self._tests.due(self.iter) and (self.iter > 0 or self.param.test_initialization):
                    self._test_between(fed)
                    if self.requests.stop or self.best.exhausted(self.progress.standing):
                        break
                outputs = self.update(fed).outputs
                request = self.requests.take_together(self.processes)
                if request == "snapshot" or (self.param.snapshot and self.iter % self.param.snapshot == 0):
                    self.processes.in_first(self._snapshots.begin)
                if request == "stop":
                    break
        return dict(outputs)

    def update(self, inputs: Mapping[str, ArrayLike] | None = None) -> StepFigures:
        """Makes one update: iter_size passes forward and backward, then the solver's rule. Nothing else.

        Args, raises: as `step`.

        Returns:
            Its figures, after the listeners were told them.
        """
        watch, fed = Stopwatch(), self._inputs(inputs)
        for listener in self.listeners:
            listener.updating(self.iter)
        self.updater.zero_gradients()
        self.processes.seed_draws(self.progress.seed, self.iter)
        with self._undo.if_it_fails(fed is not None):
            passed = self._make_passes(fed)
            rates = policies.rates(self.param, self.iter, self.progress.current_step)
            self.processes.mean_(self.updater.gradients())
            for listener in self.listeners:
                listener.applying(self.iter)
        clip = self._apply(rates)
        figures = self._figures(passed, rates, clip, watch.lap())
        self._schedules.settle(self.iter)
        self.progress.current_step = rates.step
        self.progress.iter += 1
        for listener in self.listeners:
            listener.updated(figures)
        return figures

    def solve(self) -> Path | None:
        """Trains until max_iter and writes the last snapshot (Solver::Solve).

        SIGINT and SIGTERM stop after the running iteration with a snapshot; SIGHUP writes a snapshot. An
        error after the first iteration leaves a snapshot of the last whole one.

        Returns:
            The solver state written last, None if there is none.
        """
        if self.param.max_iter < 1:
            raise PrototxtError(
                "max_iter is not set",
                found=f"max_iter: {self.param.max_iter}",
                expected="the number of iterations to train",
                advice="set max_iter in the solver prototxt, or give --max-iter",
            )
        self.log.info(f"Solving {self.net.name}")
        self.log.info(f"Learning Rate Policy: {self.param.lr_policy}")
        self.stopped, self.signal = False, 0
        with self.requests.listening():
            with self._snapshots.if_it_fails(lambda: self.processes.first and not self._torn):
                self.step(self.param.max_iter - self.iter)
            exhausted = self.best.exhausted(self.progress.standing)
            self.stopped, self.signal = self.requests.stop or exhausted, self.requests.signal
            due = not self.param.snapshot or self.iter % self.param.snapshot != 0
            if due and (self.param.snapshot_after_train or self.stopped):
                self.snapshot()
            if self.stopped:
                if exhausted:
                    self._tell_exhausted()
                self.log.info("Optimization stopped early.")
            else:
                self._last_figures()
                self.log.info("Optimization Done.")
        return self.saving.last

    def test_all(self) -> list[dict[str, list[float]]]:
        """Runs every test net, for its test_iter batches or over its list; output blob -> values, per net.

        Of several processes only the first one tests.
        """
        with self.average.shown():
            tests = [self._test(index) for index in range(len(self.test_nets))]
        return [scores for scores in tests if scores is not None]

    def load_weights(self, path: str | Path, *, skip_mismatched: bool = False) -> None:
        """Copies weights by layer name into the training net, which the test nets share.

        Args:
            skip_mismatched: layers whose blobs differ in number or size, as with another number of classes,
                keep their fillers' values and are named in a warning.

        Raises:
            WeightsError: damaged file, or blobs that do not fit and are not to be skipped.
        """
        start_from(self.net, path, self.log, skip_mismatched=skip_mismatched)

    def snapshot(self) -> Path:
        """Writes weights, solver state and resume file; returns the path of the solver state.

        Of several processes the first one writes, and the others wait.

        Raises:
            RlossError: a weight is not finite (nothing is written then), or the folder cannot be written.
        """
        self.processes.in_first(self._snapshots.write)
        return self.saving.files(self.iter).state

    def restore(self, path: str | Path) -> None:
        """Goes on from a snapshot of Caffe's or our own, binary or HDF5 (Solver::Restore).

        With the resume file that `snapshot` writes, training goes on exactly as if it had not stopped (bit
        for bit on the CPU); without it, as in Caffe, data and random draws start anew.

        Raises:
            WeightsError: a file is missing or damaged, or weights or history do not fit.
        """
        resumed = self.saving.restore(Path(path), self.progress, self._smoothed, self._schedules)
        self._keep_smoothed = resumed.exact
        for listener in self.listeners:
            listener.resumed(resumed)

    def apply_update(self) -> None:
        """Applies the gradients that are there, without a pass before (Solver::ApplyUpdate)."""
        rates = policies.rates(self.param, self.iter, self.progress.current_step)
        self._apply(rates)
        self.progress.current_step = rates.step
        self.progress.iter += 1

    def _make_passes(self, fed: Mapping[str, Tensor] | None) -> _Passed:
        """The passes of one update; raises RlossError if the loss is not finite."""
        display = bool(self.param.display) and self.iter % self.param.display == 0
        with self._in_step():
            self._snapshots.tell(wait=False)
            passes = [self._passes.run(fed, display, self.iter) for _ in range(self.param.iter_size)]
            own = mean_terms(passes)
        terms = mean_over(self.processes, own)
        loss = sum(term.weighted for term in terms.values())
        monitor.check_finite(self.iter, loss, terms)
        # Taken now: an output may be a weight, which the update changes.
        outputs = passes[-1].outputs
        shown = {name: blob.flatten().tolist() for name, blob in outputs.items()} if display else None
        return _Passed(passes[-1], terms, loss, shown)

    def _apply(self, rates: policies.Rates) -> Clip | None:
        """The update; no snapshot may be taken in the middle of it."""
        self.average.begin()
        self._torn = True
        clip = self._rule(rates)
        self.average.add()
        self._torn = False
        return clip

    def _rule(self, rates: policies.Rates) -> Clip | None:
        """The rule; with a loss scale, only where it left the gradients finite."""
        if self._scale is not None and not self._scale.undo(p.tensor for p in self.updater.parameters):
            self.log.info(
                f"Iteration {self.iter}: gradients beyond float16, no update; loss scale "
                f"{self._scale.value:g}"
            )
            return None
        return self.updater.apply(rates.lr, self.iter, rates.momentum)

    def _figures(
        self, passed: _Passed, rates: policies.Rates, clip: Clip | None, seconds: float
    ) -> StepFigures:
        return StepFigures(
            iter=self.iter,
            loss=passed.loss,
            smoothed_loss=self._smoothed.add(passed.loss),
            lr=rates.lr,
            terms=passed.terms,
            seconds=seconds,
            outputs=passed.last.outputs,
            shown=passed.shown,
            pulls=passed.last.pulls,
            pulls_at=self._passes.pulls_at,
            clip=clip,
            new_step=rates.new_step,
            momentum=rates.momentum,
        )

    def _begin(self) -> None:
        """Caffe forgets the displayed loss's window with every Step call; a resumed run keeps it."""
        if not self._keep_smoothed:
            self._smoothed.restart()
        self._keep_smoothed = False
        for listener in self.listeners:
            listener.started(self.iter)

    def _test_between(self, fed: Mapping[str, Tensor] | None) -> None:
        """A test between two updates; one that fails or is interrupted will be made again, from its start."""
        with self._undo.if_it_fails(fed is not None):
            begun = None if fed is not None else self._undo.position()
            self.processes.in_first(self.test_all)
            self.progress.standing = self.processes.broadcast(self.progress.standing)
            self.requests.agree(self.processes)
            if self.requests.stop:
                self._undo.put_back(begun)

    def start_alike(self) -> None:
        """Gives all processes the weights and the history of the first one."""
        blobs = [entry.tensor for entry in self.net.learnable]
        self.processes.copy_([*blobs, *self.history])

    def _in_step(self) -> contextlib.AbstractContextManager[None]:
        """Passes through layers that themselves talk to other processes cannot wait for those that fail."""
        if self.param.sync_batch_norm and self.processes.count > 1:
            return contextlib.nullcontext()
        return self.processes.together()

    def _last_figures(self) -> None:
        """One more forward pass and test, only for their figures, where display and test_interval fit."""
        if self.param.display and self.iter % self.param.display == 0:
            with self._in_step():
                loss = self._passes.loss(self.iter)
            losses = [value for (value,) in self.processes.gather([loss])]
            self._smoothed.add(sum(losses) / len(losses))
            self.log.info(f"Iteration {self.iter}, loss = {number(self._smoothed.value)}")
        if self._tests.due(self.iter):
            self.processes.in_first(self.test_all)

    def _test(self, index: int) -> dict[str, list[float]] | None:
        figures = self._tests.run(index, self.iter, self._snapshots.write, self._testing)
        if figures is None:
            return None
        for listener in self.listeners:
            listener.tested(figures)
        if self.best.add(self.progress.standing, figures):
            self._tell_improved(figures)
        return dict(figures.outputs)

    def _testing(self, passes: int) -> None:
        for listener in self.listeners:
            listener.testing(passes)

    def _tell_improved(self, figures: TestFigures) -> None:
        """A test was the best so far: keeps its weights, where that is asked for."""
        goal, value = self.best.goal, self.best.value(figures)
        assert goal is not None and value is not None
        model = self.saving.write_best(self.iter) if self.best.snapshots else None
        for listener in self.listeners:
            listener.improved(Improved(self.iter, goal.blob, value, model))

    def _tell_exhausted(self) -> None:
        standing = self.progress.standing
        self.log.info(
            f"{counted(standing.waited, 'test')} without gain, as many as patience allows; the best was that "
            f"of iteration {standing.iter}"
        )

    def _inputs(self, inputs: Mapping[str, ArrayLike] | None) -> dict[str, Tensor] | None:
        if inputs is None:
            return None
        device = self.net.device
        return {
            name: torch.as_tensor(value, dtype=torch.float32, device=device) for name, value in inputs.items()
        }
