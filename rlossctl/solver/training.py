"""`rlossctl train`: a training run from files and options to snapshots, logs and figures."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tqdm import tqdm

from rlossctl.bilateral import backend
from rlossctl.errors import RlossError, RlossWarning, UsageError
from rlossctl.net import DataOverrides
from rlossctl.solver import manifest, resuming, space
from rlossctl.solver.announcing import after, before
from rlossctl.solver.best import Goal
from rlossctl.solver.board import Board
from rlossctl.solver.curves import Picture
from rlossctl.solver.figures import StepFigures, TestFigures
from rlossctl.solver.files import SolverFile
from rlossctl.solver.folder import Outputs, clear, locked, output_files, require_free, would_clear
from rlossctl.solver.history import History
from rlossctl.solver.keeping import Keep
from rlossctl.solver.listeners import Listener
from rlossctl.solver.load import build_solver, starting_weights
from rlossctl.solver.log import Log, to_stderr
from rlossctl.solver.options import TrainOptions
from rlossctl.solver.solver import Solver
from rlossctl.solver.speed import choose_kernels
from rlossctl.solver.survey import look_before_training
from rlossctl.words import counted

if TYPE_CHECKING:
    Progress = tqdm[NoReturn]  # it goes through nothing itself


class Trained(NamedTuple):
    """What a run left.

    Attributes:
        iter: updates made in all.
        snapshot: the last solver state, None if none was written.
        stopped: whether SIGINT, SIGTERM or `patience` ended it early.
        metrics: the JSON lines file.
        signal: the number of the signal that ended it, 0 if none.
        best: the weights with the best test, None if none were kept.
        notes: the best and the last weights, and the commands that convert and score them.
    """

    iter: int
    snapshot: Path | None
    stopped: bool
    metrics: Path
    signal: int = 0
    best: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal has ended: 128 and the signal's number; else 0."""
        return 128 + self.signal if self.signal else 0

    def require_snapshot(self) -> Path:
        """The last solver state.

        Raises:
            RlossError: none was written.
        """
        if self.snapshot is None:
            raise RlossError(
                "the run left no snapshot",
                where=self.metrics,
                found=f"none in {counted(self.iter, 'iteration')}",
                expected="a snapshot to go on from",
                advice="set snapshot_after_train in the solver prototxt",
            )
        return self.snapshot


class Bar(Listener):
    """Moves a progress bar with every update; it also shows the last test's score.

    Args:
        goal: the output that `monitor` names, if any; else the first that counts over a whole list is shown.
    """

    def __init__(self, bar: Progress, goal: Goal | None) -> None:
        self._bar = bar
        self._goal = goal
        self._loss = self._score = ""

    def updated(self, figures: StepFigures) -> None:
        """Displayed loss and rate, one iteration further."""
        self._loss = f"loss {figures.smoothed_loss:.4g}, lr {figures.lr:.3g}"
        self._bar.set_postfix_str(self._loss + self._score, refresh=False)
        self._bar.update()

    def testing(self, passes: int) -> None:
        """How far a test is, which may take a while."""
        self._bar.set_postfix_str(f"{self._loss}, testing {passes}", refresh=False)
        self._bar.update(0)

    def tested(self, figures: TestFigures) -> None:
        """The score, which stays until the next test."""
        goal = self._goal or next((Goal(name, 0, 1) for name in figures.counted if "IoU" in name), None)
        if goal is not None and figures.net == goal.net and goal.blob in figures.outputs:
            self._score = f", {goal.blob} {figures.outputs[goal.blob][0]:.4f}"
            self._bar.set_postfix_str(self._loss + self._score)


def train(
    file: SolverFile, data: DataOverrides | None = None, options: TrainOptions | None = None
) -> Trained:
    """Trains as the solver prototxt says.

    Args:
        file: what was read (`SolverOrigin.read`).
        data: for the training data layer, in place of its own.

    Raises:
        RlossError: anything that keeps the run from starting or going on. After the first iteration, a
            snapshot of the last whole one is left.
    """
    options = options or TrainOptions()
    _refuse_several_processes()
    outputs = output_files(file.prefix_in(options.out), options.out)
    with contextlib.ExitStack() as opened:
        opened.enter_context(locked(outputs.lock))
        _claim(outputs, options)
        terminal = sys.stderr.isatty()
        bar = opened.enter_context(tqdm(disable=not terminal, unit="it", dynamic_ncols=True, file=sys.stderr))
        lines = _warnings_only(bar) if terminal or options.quiet else to_stderr
        log = opened.enter_context(contextlib.closing(_log(lines, outputs)))
        opened.enter_context(_python_warnings(log))
        board = Board(outputs.log.parent / "tensorboard") if options.tensorboard else None
        if board is not None:
            opened.enter_context(contextlib.closing(board))
        try:
            solver = _built(file, data or DataOverrides(), options, outputs, log)
            if board is not None:
                board.show_pictures(solver)
                solver.listeners.append(board)
            history = History.read(outputs.metrics) if options.resume else History()
            solver.listeners += [Bar(bar, solver.best.goal), history, Picture(outputs.curves, history)]
            with _entered(solver, file, options, outputs):
                for line in _announce(solver, file, options):
                    if terminal and not options.quiet:
                        bar.write(line, file=sys.stderr)
                trained = _solve(solver, bar, outputs)
                return trained._replace(notes=tuple(after(solver, file, options)))
        except RlossError as error:
            with log.best_effort():
                log.record("error", message=str(error))
            raise


def _refuse_several_processes() -> None:
    """torchrun and its like start the same command many times over."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count.isdecimal() and int(count) > 1:
        raise UsageError(
            "train runs in one process",
            where="environment",
            found=f"WORLD_SIZE={count}: torchrun or a batch system starts {count} processes",
            expected="one process: training is not distributed yet",
            advice="start rlossctl train by itself, without torchrun, or unset WORLD_SIZE",
        )


def _claim(outputs: Outputs, options: TrainOptions) -> None:
    """Makes sure that no other run is in the folder, or deletes it where that is wanted."""
    if options.overwrite:
        lost = would_clear(outputs).intersection(Path(name).resolve() for name in options.weights or ())
        if lost:
            raise UsageError(
                "--overwrite would delete the weights to start from",
                found=str(min(lost)),
                expected="--weights outside the run that is overwritten",
                advice="name another folder with --out",
            )
        clear(outputs)
    elif not options.resume:
        require_free(outputs)
    elif options.resume != "auto":
        resuming.require_same_run(outputs, Path(options.resume))


def _built(
    file: SolverFile, data: DataOverrides, options: TrainOptions, outputs: Outputs, log: Log
) -> Solver:
    """The solver, where its run starts or goes on, checked as far as that can be done before an iteration."""
    state = resuming.choose(options.resume, outputs, log)
    started = options if state is None else replace(options, weights=())
    solver = build_solver(file, data, started, outputs.prefix, log)
    look_before_training(solver, file)
    if state is not None:
        resuming.go_on(solver, state, outputs, options)
    if options.keep:
        solver.listeners.append(Keep(solver, options.keep))
    space.check(solver, outputs.log.parent, options.keep)
    return solver


@contextlib.contextmanager
def _entered(solver: Solver, file: SolverFile, options: TrainOptions, outputs: Outputs) -> Iterator[None]:
    """The run stands in the folder's manifest, unless it ends without an iteration."""
    known = manifest.read(outputs.manifest)
    if known is not None and known.run == solver.progress.run:
        yield
        return
    if known is not None:
        solver.log.warning(f"The logs of run {known.run}, which left no snapshot, stand above this run's")
    weights = [] if options.resume else starting_weights(file, options)
    manifest.manifest_of(solver, file, weights).write(outputs.manifest)
    start = solver.iter
    try:
        yield
    except BaseException:
        if solver.iter == start:
            outputs.manifest.unlink(missing_ok=True)
        raise


def _announce(solver: Solver, file: SolverFile, options: TrainOptions) -> list[str]:
    """The lines before the run, which the log gets too."""
    choose_kernels(solver.net)
    weights = [str(path) for path in starting_weights(file, options)]
    start = f"starts from {', '.join(weights)}" if weights else "starts from random weights"
    lines = before(solver, f"goes on from iteration {solver.iter}" if options.resume else start)
    for line in lines:
        solver.log.info(line)
    solver.log.info(f"Run: {solver.progress.run}; seed: {solver.progress.seed}")
    solver.log.record(
        "start",
        run=solver.progress.run,
        net=solver.net.name,
        device=str(solver.net.device),
        filter_backend=backend(solver.net.device).name,
        seed=solver.progress.seed,
        dialect=solver.net.dialect,
        max_iter=solver.param.max_iter,
        parameters=sum(entry.tensor.numel() for entry in solver.net.learnable),
    )
    solver.log.info("Starting Optimization")
    return lines


def _solve(solver: Solver, bar: Progress, outputs: Outputs) -> Trained:
    bar.reset(total=solver.param.max_iter)
    bar.initial = bar.n = solver.iter
    bar.refresh()
    last = solver.solve()
    for net in (solver.net, *solver.test_nets):
        for source in net.sources.values():
            if hasattr(source, "close"):
                source.close()
    return Trained(solver.iter, last, solver.stopped, outputs.metrics, solver.signal, solver.saving.best)


def _log(lines: Callable[[str], None], outputs: Outputs) -> Log:
    log = Log([lines], outputs.metrics)
    log.add_file(outputs.log)
    return log


@contextlib.contextmanager
def _python_warnings(log: Log) -> Iterator[None]:
    """What losses and data layers warn of goes into the log."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=RlossWarning)
        show = warnings.showwarning

        def told(message: Warning | str, category: type[Warning], *place: object) -> None:
            if issubclass(category, RlossWarning):
                log.warning(str(message))
            else:
                show(message, category, *place)  # type: ignore[arg-type]

        warnings.showwarning = told  # type: ignore[assignment]
        yield


def _warnings_only(bar: Progress) -> Callable[[str], None]:
    def write(line: str) -> None:
        if line.startswith("W"):
            bar.write(line.partition("] ")[2], file=sys.stderr)

    return write
