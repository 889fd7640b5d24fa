"""`rlossctl train`: a training run from files and options to snapshots, logs and figures."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TextIO

from tqdm import tqdm

from rlossctl.bilateral import backend
from rlossctl.errors import RlossError, RlossWarning, UsageError
from rlossctl.locks import locked
from rlossctl.net import DataOverrides
from rlossctl.solver.announcing import after, before
from rlossctl.solver.load import build_solver, pick_seed, starting_weights
from rlossctl.solver.machine.processes import Processes, joined
from rlossctl.solver.machine.speed import choose_kernels
from rlossctl.solver.reading.files import SolverFile
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.scoring.best import Goal
from rlossctl.solver.scoring.board import Board
from rlossctl.solver.snapshots import manifest, resuming, snapshot, space
from rlossctl.solver.snapshots.folder import (
    Outputs,
    clear,
    named_outputs,
    output_files,
    require_free,
    would_clear,
)
from rlossctl.solver.snapshots.keeping import Keep
from rlossctl.solver.solver import Solver
from rlossctl.solver.survey import look_before_training
from rlossctl.solver.telling.curves import Picture
from rlossctl.solver.telling.figures import StepFigures, TestFigures
from rlossctl.solver.telling.history import History
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.log import Log, to_stderr
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
        first: whether this process wrote it; of several processes one does.
    """

    iter: int
    snapshot: Path | None
    stopped: bool
    metrics: Path
    signal: int = 0
    best: Path | None = None
    notes: tuple[str, ...] = ()
    first: bool = True

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal has ended: 128 and the signal's number; else 0."""
        return 128 + self.signal if self.signal else 0

    @property
    def weights(self) -> Path | None:
        """The weights of the last snapshot."""
        return None if self.snapshot is None else snapshot.model_file(self.snapshot)

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
    file: SolverFile,
    data: DataOverrides | None = None,
    options: TrainOptions | None = None,
    listeners: Sequence[Listener] = (),
) -> Trained:
    """Trains as the solver prototxt says.

    Args:
        file: what was read (`SolverOrigin.read`).
        data: for the training data layer, in place of its own.
        listeners: are told the figures, in the process that writes.

    Raises:
        RlossError: anything that keeps the run from starting or going on. After the first iteration, a
            snapshot of the last whole one is left.
    """
    options = options or TrainOptions()
    with joined(options.device, file.param) as processes:
        if processes.count > 1:
            options = replace(options, device=processes.device)
            file = _seeded(file, options, processes)
        return _train(file, data or DataOverrides(), options, listeners, processes)


def _train(
    file: SolverFile,
    data: DataOverrides,
    options: TrainOptions,
    listeners: Sequence[Listener],
    processes: Processes,
) -> Trained:
    with contextlib.ExitStack() as opened:
        with processes.together():
            desk = _Desk.open(opened, file, options) if processes.first else _Desk.silent(file, options)
        opened.enter_context(_python_warnings(desk.log))
        try:
            solver = _built(file, data, options, desk, processes)
            solver.listeners += [*desk.listeners(solver, options), *(listeners if processes.first else ())]
            with _entered(solver, file, options, desk.outputs):
                for line in _announce(solver, file, options):
                    desk.tell(line)
                trained = _solve(solver, desk)
                return trained._replace(notes=tuple(after(solver, file, options)) if trained.first else ())
        except RlossError as error:
            with desk.log.best_effort():
                desk.log.record("error", message=str(error))
            raise


class _Desk(NamedTuple):
    """Where a process writes: files and a bar, or nothing where another process does.

    Attributes:
        bar: the progress bar on a terminal, None in a process that shows nothing.
        board: writes TensorBoard's events, where they are asked for.
        talks: whether the lines before the run stand above the bar.
    """

    outputs: Outputs
    log: Log
    bar: Progress | None = None
    board: Board | None = None
    talks: bool = False

    @staticmethod
    def open(opened: contextlib.ExitStack, file: SolverFile, options: TrainOptions) -> _Desk:
        """The files, once no other run is in the folder, until `opened` closes them."""
        outputs = output_files(file.prefix_in(options.out), options.out)
        opened.enter_context(locked(outputs.lock, "training"))
        _claim(outputs, options)
        terminal = sys.stderr.isatty()
        bar = opened.enter_context(tqdm(disable=not terminal, unit="it", dynamic_ncols=True, file=sys.stderr))
        lines = _warnings_only(bar) if terminal or options.quiet else to_stderr
        log = opened.enter_context(contextlib.closing(_log(lines, outputs)))
        board = Board(outputs.log.parent / "tensorboard") if options.tensorboard else None
        if board is not None:
            opened.enter_context(contextlib.closing(board))
        return _Desk(outputs, log, bar, board, terminal and not options.quiet)

    @staticmethod
    def silent(file: SolverFile, options: TrainOptions) -> _Desk:
        """That of a process beside the one that writes."""
        return _Desk(named_outputs(file.prefix_in(options.out), options.out), Log())

    def listeners(self, solver: Solver, options: TrainOptions) -> list[Listener]:
        """What shows the figures outside the log."""
        if self.bar is None:
            return []
        found: list[Listener] = []
        if self.board is not None:
            self.board.show_pictures(solver)
            found.append(self.board)
        history = History.read(self.outputs.metrics) if options.resume else History()
        return [*found, Bar(self.bar, solver.best.goal), history, Picture(self.outputs.curves, history)]

    def tell(self, line: str) -> None:
        """A line above the bar, broken between words where the terminal is too narrow."""
        if self.talks and self.bar is not None:
            self.bar.write(_broken(line), file=sys.stderr)


def _seeded(file: SolverFile, options: TrainOptions, processes: Processes) -> SolverFile:
    """The same seed in all processes, where neither the solver nor the caller gives one."""
    seed = processes.broadcast(pick_seed(options.seed, file.param))
    return file if options.seed is not None else file.changed(random_seed=seed)


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
    file: SolverFile, data: DataOverrides, options: TrainOptions, desk: _Desk, processes: Processes
) -> Solver:
    """The solver, where its run starts or goes on, checked as far as that can be done before an iteration."""
    outputs, state = desk.outputs, None
    with processes.together():
        if processes.first:
            state = resuming.choose(options.resume, outputs, desk.log)
    state = processes.broadcast(state)
    with processes.together():
        started = options if state is None else replace(options, weights=())
        solver = build_solver(file, data, started, outputs.prefix, desk.log, processes)
        if processes.first:
            look_before_training(solver, file)
        if state is not None:
            if options.weights:
                desk.log.info("The run goes on from its snapshot, so --weights is not read")
            resuming.go_on(solver, state, outputs, options)
        if options.keep:
            solver.listeners.append(Keep(solver, options.keep))
        if processes.first:
            space.check(solver, outputs.log.parent, options.keep)
    solver.start_alike()
    return solver


@contextlib.contextmanager
def _entered(solver: Solver, file: SolverFile, options: TrainOptions, outputs: Outputs) -> Iterator[None]:
    """The run stands in the folder's manifest, unless it ends without an iteration."""
    if not solver.processes.first:
        yield
        return
    known = manifest.read(outputs.manifest)
    if known is not None and known.run == solver.progress.run:
        yield
        return
    if known is not None:
        solver.log.warning(f"The logs of run {known.run}, which left no snapshot, stand above this run's")
    weights = [] if solver.iter else starting_weights(file, options)  # --resume auto may find nothing
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
    lines = before(solver, f"goes on from iteration {solver.iter}" if solver.iter else start)
    for line in lines:
        solver.log.info(line)
    for name in solver.processes.unshared(solver.net):
        solver.log.warning(
            f"Layer {name!r} gives every process the same data, unless its program looks at RANK"
        )
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
        processes=solver.processes.count,
        parameters=sum(entry.tensor.numel() for entry in solver.net.learnable),
    )
    solver.log.info("Starting Optimization")
    return lines


def _solve(solver: Solver, desk: _Desk) -> Trained:
    if desk.bar is not None:
        desk.bar.reset(total=solver.param.max_iter)
        desk.bar.initial = desk.bar.n = solver.iter
        desk.bar.refresh()
    last = solver.solve()
    for net in (solver.net, *solver.test_nets):
        for source in net.sources.values():
            if hasattr(source, "close"):
                source.close()
    trained = Trained(solver.iter, last, solver.stopped, desk.outputs.metrics, solver.signal)
    return trained._replace(best=solver.saving.best, first=solver.processes.first)


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

        def told(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, RlossWarning):
                log.warning(str(message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = told
        yield


def _warnings_only(bar: Progress) -> Callable[[str], None]:
    def write(line: str) -> None:
        if line.startswith("W"):
            bar.write(_broken(f"warning: {line.partition('] ')[2]}"), file=sys.stderr)

    return write


def _broken(line: str) -> str:
    """A line as a terminal shows it best; what has no spaces, as a path, stays whole."""
    if not sys.stderr.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
