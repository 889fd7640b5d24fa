"""`rlossctl train`: a training run from files and options to snapshots, logs and figures."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tqdm import tqdm

from rlossctl.bilateral import backend
from rlossctl.errors import RlossError
from rlossctl.files import cannot_write, make_folder
from rlossctl.net import DataOverrides
from rlossctl.solver import snapshot
from rlossctl.solver.board import Board
from rlossctl.solver.figures import StepFigures
from rlossctl.solver.files import SolverFile
from rlossctl.solver.listeners import Listener
from rlossctl.solver.load import build_solver
from rlossctl.solver.log import Log, number, to_stderr
from rlossctl.solver.options import TrainOptions
from rlossctl.solver.solver import Solver
from rlossctl.words import counted

if TYPE_CHECKING:
    Progress = tqdm[NoReturn]  # it goes through nothing itself


class Outputs(NamedTuple):
    """Where a run writes."""

    prefix: str
    log: Path
    metrics: Path


class Trained(NamedTuple):
    """What a run left.

    Attributes:
        iter: updates made in all.
        snapshot: the last solver state, None if none was written.
        stopped: whether SIGINT ended it early.
        metrics: the JSON lines file.
    """

    iter: int
    snapshot: Path | None
    stopped: bool
    metrics: Path

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
    """Moves a progress bar with every update."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def updated(self, figures: StepFigures) -> None:
        """Displayed loss and rate, one iteration further."""
        shown = f"loss {number(figures.smoothed_loss)}, lr {number(figures.lr)}"
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.update()


def train(
    file: SolverFile, data: DataOverrides | None = None, options: TrainOptions | None = None
) -> Trained:
    """Trains as the solver prototxt says.

    Args:
        file: what was read (`SolverOrigin.read`).
        data: for the training data layer, in place of its own.

    Raises:
        RlossError: anything that keeps the run from starting or going on.
    """
    options = options or TrainOptions()
    outputs = output_files(file.prefix_in(options.out), options.out)
    with contextlib.ExitStack() as opened:
        terminal = sys.stderr.isatty()
        bar = opened.enter_context(tqdm(disable=not terminal, unit="it", dynamic_ncols=True, file=sys.stderr))
        lines = _warnings_only(bar) if terminal or options.quiet else to_stderr
        log = opened.enter_context(contextlib.closing(_log(lines, outputs)))
        listeners: list[Listener] = [Bar(bar)]
        if options.tensorboard:
            board = Board(outputs.log.parent / "tensorboard")
            listeners.append(opened.enter_context(contextlib.closing(board)))
        try:
            state = _snapshot_to_resume(options.resume, outputs.prefix)
            started = options if state is None else replace(options, weights=())
            solver = build_solver(file, data or DataOverrides(), started, outputs.prefix, log)
            solver.listeners += listeners
            if options.resume:
                _resume(solver, state)
            _announce(solver, log)
            return _solve(solver, bar, outputs)
        except RlossError as error:
            log.record("error", message=str(error))
            raise


def output_files(prefix: str, out: str | Path | None) -> Outputs:
    """Where snapshots and logs go; creates the folder and proves that it can be written.

    Args:
        prefix: of the snapshots.
        out: the folder where the user named one; only then do the logs have plain names.

    Raises:
        RlossError: it cannot.
    """
    folder = Path(os.path.dirname(prefix) or ".")
    if out is not None:
        outputs = Outputs(prefix, folder / "train.log", folder / "metrics.jsonl")
    else:
        outputs = Outputs(prefix, Path(f"{prefix}_train.log"), Path(f"{prefix}_metrics.jsonl"))
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error
    return outputs


def _resume(solver: Solver, state: Path | None) -> None:
    if state is None:
        solver.log.info(f"No snapshot {solver.prefix}_iter_* to resume from: starting anew")
    else:
        solver.log.info(f"Resuming from {state}")
        solver.restore(state)


def _snapshot_to_resume(resume: str | None, prefix: str) -> Path | None:
    if not resume:
        return None
    return snapshot.latest(prefix) if resume == "auto" else Path(resume)


def _announce(solver: Solver, log: Log) -> None:
    place = solver.net.device
    choice = backend(place)
    log.info(f"Device: {place}; filter backend: {choice.name} ({choice.reason}); seed: {solver.seed}")
    log.record(
        "start",
        net=solver.net.name,
        device=str(place),
        filter_backend=choice.name,
        seed=solver.seed,
        dialect=solver.net.dialect,
        max_iter=solver.param.max_iter,
        parameters=sum(entry.tensor.numel() for entry in solver.net.learnable),
    )
    log.info("Starting Optimization")


def _solve(solver: Solver, bar: Progress, outputs: Outputs) -> Trained:
    bar.reset(total=solver.param.max_iter)
    bar.initial = bar.n = solver.iter
    bar.refresh()
    last = solver.solve()
    for net in (solver.net, *solver.test_nets):
        for source in net.sources.values():
            if hasattr(source, "close"):
                source.close()
    return Trained(solver.iter, last, solver.stopped, outputs.metrics)


def _log(lines: Callable[[str], None], outputs: Outputs) -> Log:
    log = Log([lines], outputs.metrics)
    log.add_file(outputs.log)
    return log


def _warnings_only(bar: Progress) -> Callable[[str], None]:
    def write(line: str) -> None:
        if line.startswith("W"):
            bar.write(line.partition("] ")[2], file=sys.stderr)

    return write
