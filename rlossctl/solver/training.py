"""`rlossctl train`: a training run from files and settings to snapshots, logs and figures."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from rlossctl.bilateral import backend
from rlossctl.errors import RlossError, UsageError
from rlossctl.files import cannot_write, make_folder
from rlossctl.prototxt import load_net_file, load_solver_parameter
from rlossctl.prototxt.text import is_solver, read_text
from rlossctl.solver import snapshot
from rlossctl.solver.load import build_solver, snapshot_prefix
from rlossctl.solver.log import Log, number, to_stderr
from rlossctl.solver.solver import Solver


class Files(NamedTuple):
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


def train(
    prototxt: str | Path,
    *,
    solver: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
    weights: Sequence[str] = (),
    resume: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    seed: int | None = None,
    max_iter: int | None = None,
    data: str | None = None,
    root: str | None = None,
    dialect: str = "auto",
    quiet: bool = False,
    tensorboard: bool = False,
) -> Trained:
    """Trains as the solver prototxt says.

    Args:
        prototxt: a solver prototxt, or a net prototxt with `solver`.
        settings: values for `${NAME}`.
        weights: caffemodels to start from; excludes `resume`.
        resume: a solver state, or "auto" for the newest complete snapshot (a fresh start if there is none).
        out: folder for snapshots, train.log and metrics.jsonl; by default they go where snapshot_prefix says.
        workers: threads that decode images; by default up to 4.
        data, root: list file and root folder in place of the training data layer's own.
        tensorboard: also write TensorBoard events, to the folder `tensorboard` beside the logs.
        dialect: whose Caffe the nets are for, where the files do not show it.
        quiet: of the log lines, only warnings go to stderr. (On a terminal a bar always takes their place.)

    Raises:
        RlossError: anything that keeps the run from starting or going on; UsageError for the arguments.
    """
    if resume and weights:
        raise UsageError(
            "--resume and --weights exclude each other",
            found="both",
            expected="one of them",
            advice="--resume goes on with a run; --weights starts a new one from trained weights",
        )
    settings = dict(settings or {})
    solver_file, net = solver_and_net(prototxt, solver, settings)
    files = output_files(solver_file, settings, out)
    start = _snapshot_to_resume(resume, files.prefix)
    interactive = sys.stderr.isatty()
    with tqdm(disable=not interactive, unit="it", dynamic_ncols=True, file=sys.stderr) as bar:
        log = Log([_warnings_only(bar) if interactive or quiet else to_stderr], files.metrics)
        log.add_file(files.log)
        if tensorboard:
            log.add_board(files.log.parent / "tensorboard")
        try:
            built = build_solver(
                solver_file,
                settings,
                net=net,
                device=device,
                seed=seed,
                source=data,
                root=root,
                workers=min(4, os.cpu_count() or 1) if workers is None else workers,
                weights=list(weights) if weights or start else None,
                prefix=files.prefix,
                max_iter=max_iter,
                dialect=dialect,
                log=log,
            )
            if start is not None:
                log.info(f"Resuming from {start}")
                built.restore(start)
            elif resume:
                log.info(f"No snapshot {files.prefix}_iter_* to resume from: starting anew")
            _announce(built, log)
            return _solve(built, bar, files)
        except RlossError as error:
            log.record("error", message=str(error))
            raise
        finally:
            log.close()


def solver_and_net(
    prototxt: str | Path, solver: str | Path | None, settings: Mapping[str, object]
) -> tuple[Path, Path | None]:
    """Tells a solver prototxt from a net prototxt; the net is None if the solver names it.

    Raises:
        PrototxtError: `prototxt` is neither.
        UsageError: a net without a solver, or two solvers.
    """
    named_solver = is_solver(read_text(prototxt))
    if not named_solver:
        load_net_file(prototxt, settings)  # text that is neither is told apart from a net without a solver
    if named_solver and solver is not None:
        raise UsageError(
            "--solver goes with a net prototxt",
            where=prototxt,
            found="a solver prototxt, and --solver besides",
            expected="--prototxt NET --solver SOLVER, or --prototxt SOLVER alone",
            advice="leave out --solver, or give the net as --prototxt",
        )
    if not named_solver and solver is None:
        raise UsageError(
            "is a net prototxt, which does not say how to train",
            where=prototxt,
            found="a net",
            expected="a solver prototxt, or a net with --solver",
            advice=f"add --solver SOLVER to --prototxt {prototxt}",
        )
    return (Path(prototxt), None) if solver is None else (Path(solver), Path(prototxt))


def output_files(solver: Path, settings: Mapping[str, object], out: str | Path | None) -> Files:
    """Where snapshots and logs go; creates the folder and proves that it can be written.

    Raises:
        RlossError: it cannot.
    """
    prefix = snapshot_prefix(load_solver_parameter(solver, settings), solver)
    if out is not None:
        folder = Path(out)
        prefix = str(folder / (os.path.basename(prefix) or solver.stem))
        files = Files(prefix, folder / "train.log", folder / "metrics.jsonl")
    else:
        folder = Path(os.path.dirname(prefix) or ".")
        files = Files(prefix, Path(f"{prefix}_train.log"), Path(f"{prefix}_metrics.jsonl"))
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error
    return files


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


def _solve(solver: Solver, bar: tqdm, files: Files) -> Trained:
    bar.reset(total=solver.param.max_iter)
    bar.initial = bar.n = solver.iter

    def progress(current: Solver, figures: dict[str, object]) -> None:
        bar.set_postfix_str(
            f"loss {number(figures['smoothed_loss'])}, lr {number(figures['lr'])}", refresh=False
        )
        bar.update()

    solver.on_iteration = progress
    bar.refresh()
    last = solver.solve()
    for net in (solver.net, *solver.test_nets):
        for source in net.sources.values():
            if hasattr(source, "close"):
                source.close()
    return Trained(solver.iter, last, solver.stopped, files.metrics)


def _warnings_only(bar: tqdm) -> Callable[[str], None]:
    def write(line: str) -> None:
        if line.startswith("W"):
            bar.write(line.partition("] ")[2], file=sys.stderr)

    return write
