"""From a solver prototxt to a Solver: nets, seed, device, starting weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rlossctl.errors import PrototxtError, WeightsError
from rlossctl.net import DataOverrides, Net, build_net
from rlossctl.net.parameters import MISFIT
from rlossctl.prototxt import forks, to_text
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.data_errors import advised
from rlossctl.solver.machine.device import pick_device
from rlossctl.solver.machine.processes import ALONE, Processes
from rlossctl.solver.machine.speed import Speed
from rlossctl.solver.reading import checks, overrides
from rlossctl.solver.reading.files import SolverFile, SolverOrigin
from rlossctl.solver.reading.nets import Nets
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.solver import Solver
from rlossctl.solver.telling.log import Log, warnings_to_stderr
from rlossctl.solver.updating import policies
from rlossctl.solver.updating.updates import history_slots

WORKERS = 4


def load_solver(
    path: str | Path,
    net: str | Path | None = None,
    device: str | torch.device | None = None,
    seed: int | None = None,
    source: str | Path | None = None,
    root: str | Path | None = None,
    *,
    workers: int = 0,
    weights: Sequence[str | Path] | None = None,
    prefix: str | None = None,
    max_iter: int | None = None,
    dialect: str = "auto",
    log: Log | None = None,
    speed: Speed | None = None,
    **placeholders: object,
) -> Solver:
    """Builds a solver with its training net and test nets.

    Args:
        path: solver prototxt. Files that it names are looked up from the working directory, as in Caffe,
            then from the solver's own folder.
        net: a net prototxt in place of the one that the solver names.
        device: "cpu", "cuda", "cuda:1"; by default (or "auto") what solver_mode and device_id say, and the
            CPU where there is no GPU.
        seed: in place of random_seed; without either the system gives one, found in
            `solver.progress.seed`. Starts torch's global generator and the data layers.
        source, root: list file and root folder for the training net's data layers, in place of the net's own.
        workers: threads that decode images ahead.
        weights: caffemodels to start from, in place of the solver's own `weights`.
        prefix: in place of snapshot_prefix.
        max_iter: in place of max_iter, also for the poly policy.
        dialect: whose Caffe the nets are for: auto, bvlc, rloss, segnet or enet.
        log: takes log lines and figures; by default warnings go to stderr, the rest nowhere.
        speed: memory format and CUDA graphs.
        placeholders: values for `${NAME}` in the solver and in its nets.

    Raises:
        PrototxtError, NetError, WeightsError, DataError: with the file and the place in it.
    """
    first, solver = (path, None) if net is None else (net, path)
    file = SolverOrigin(first, solver, placeholders, dialect).read()
    options = TrainOptions(
        weights=weights,
        device=device,
        workers=workers,
        seed=seed,
        max_iter=max_iter,
        speed=speed or Speed(),
    )
    return build_solver(file, DataOverrides(source, root), options, prefix, log)


def build_solver(
    file: SolverFile,
    data: DataOverrides,
    options: TrainOptions,
    prefix: str | None = None,
    log: Log | None = None,
    processes: Processes = ALONE,
    adapt: Callable[[Net], Net] = lambda net: net,
) -> Solver:
    """A solver of what was read.

    Args:
        data: for the training net's data layers, in place of the net's own.
        options: weights, device, workers, seed and what replaces values of the prototxts count here.
        prefix: in place of snapshot_prefix.
        log: takes log lines and figures; by default warnings go to stderr, the rest nowhere.
        processes: those that train together; only the first one has test nets.
        adapt: makes of each built net the one that the solver uses.

    Raises:
        PrototxtError, NetError, WeightsError, DataError: with the file and the place in it.
    """
    log = log or Log([warnings_to_stderr])
    file = overrides.solver_with(file, options)
    nets = Nets(file)
    if options.epochs is not None:
        drawn = overrides.net_with(nets.train().file, options)
        with advised("TRAIN"):
            file = file.changed(
                max_iter=overrides.iterations(drawn, data, file.param, options, processes.count)
            )
    log.info(f"Initializing solver from parameters:\n{to_text(file.param).rstrip()}")
    _check(file)
    for doubt in checks.doubts(file):
        log.warning(doubt)
    for note in forks.solver_notes(file.param):
        log.warning(f"{file.path}: {note}")
    device = pick_device(options.device, file.param)
    speed = options.speed.on(device)
    seed = pick_seed(options.seed, file.param)
    torch.manual_seed(seed)
    workers = _workers(options)
    named = nets.train()
    log.info(f"Creating training net from {named.named_by}")
    for note in named.file.notes:
        log.warning(note)
    net = overrides.net_with(named.file, options)
    with advised("TRAIN"):
        given = data.options(seed=seed, workers=workers)
        train = adapt(build_net(net, device=device, data=given, history=history_slots(file.param)))
    speed.prepare(train)
    tests = []
    own = options.test_data.options(seed=seed, workers=workers)
    for index, named in enumerate(nets.tests() if processes.first else ()):
        log.info(f"Creating test net (#{index}) specified by {named.named_by}")
        with advised("TEST"):
            tests.append(adapt(build_net(named.file, device=device, share=train, data=own)))
        speed.prepare(tests[-1])
    if file.param.test_interval > 0 and not tests:
        log.warning(checks.nothing_tested(file))
    prefix = file.snapshot_prefix if prefix is None else prefix
    try:
        solver = Solver(
            file.param, train, tests, prefix=prefix, seed=seed, log=log, speed=speed, processes=processes
        )
    except PrototxtError as error:
        raise _located(error, file.path) from error
    for weights in starting_weights(file, options):
        _load_weights(solver, weights, options.skip_mismatched)
    log.info("Solver scaffolding done.")
    return solver


def _load_weights(solver: Solver, path: str | Path, skip_mismatched: bool) -> None:
    try:
        solver.load_weights(path, skip_mismatched=skip_mismatched)
    except WeightsError as error:
        if error.message != MISFIT:
            raise
        raise WeightsError(
            error.message,
            where=error.where,
            found=error.found,
            expected=error.expected,
            advice=f"{error.advice}; with --skip-mismatched these layers start anew",
        ) from error


def starting_weights(file: SolverFile, options: TrainOptions) -> list[str | Path]:
    """The files that a training starts from: given, else the solver's own."""
    return list(_own_weights(file) if options.weights is None else options.weights)


def pick_seed(seed: int | None, param: SolverParameter) -> int:
    """The seed: given, else random_seed if that is not negative, else one from the system."""
    if seed is not None:
        return seed
    if param.random_seed >= 0:
        return param.random_seed
    return int.from_bytes(os.urandom(4), "little")


def _workers(options: TrainOptions) -> int:
    return min(WORKERS, os.cpu_count() or 1) if options.workers is None else options.workers


def _check(file: SolverFile) -> None:
    """What Caffe checks when a solver is made, before any net is built."""
    checks.check_solver(file)
    try:
        policies.learning_rate(file.param, 0)
        history_slots(file.param)
    except PrototxtError as error:
        raise _located(error, file.path) from error


def _own_weights(file: SolverFile) -> list[Path]:
    """The solver's `weights` field: repeated, each a comma list (BVLC)."""
    names = [name.strip() for entry in file.param.weights for name in entry.split(",")]
    return [file.find(name, "weights") for name in names if name]


def _located(error: PrototxtError, file: Path) -> PrototxtError:
    """The same error with the solver's file."""
    return PrototxtError(
        error.message,
        where=error.where or file,
        found=error.found,
        expected=error.expected,
        advice=error.advice,
    )
