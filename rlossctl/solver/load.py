"""From a solver prototxt to a Solver: nets, seed, device, starting weights."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from google.protobuf.message import Message

from rlossctl.errors import PrototxtError, UsageError
from rlossctl.net import Net, build_net
from rlossctl.prototxt import forks, load_solver_parameter, to_text
from rlossctl.prototxt.text import NetFile
from rlossctl.solver import nets, policies
from rlossctl.solver.log import Log, warnings_to_stderr
from rlossctl.solver.solver import Solver

GPU = 1  # SolverParameter.SolverMode


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
    **placeholders: object,
) -> Solver:
    """Builds a solver with its training net and test nets.

    Args:
        path: solver prototxt. Files that it names are looked up from the working directory, as in Caffe,
            then from the solver's own folder.
        net: a net prototxt in place of the one that the solver names.
        device: "cpu", "cuda", "cuda:1"; by default (or "auto") what solver_mode and device_id say, and the
            CPU where there is no GPU.
        seed: in place of random_seed; without either the system gives one, found in `solver.seed`. Starts
            torch's global generator and the data layers.
        source, root: list file and root folder for the training net's data layers, in place of the net's own.
        workers: threads that decode images ahead.
        weights: caffemodels to start from, in place of the solver's own `weights`.
        prefix: in place of snapshot_prefix.
        max_iter: in place of max_iter, also for the poly policy.
        dialect: whose Caffe the nets are for: auto, bvlc, rloss, segnet or enet.
        log: takes log lines and figures; by default warnings go to stderr, the rest nowhere.
        placeholders: values for `${NAME}` in the solver and in its nets.

    Raises:
        PrototxtError, NetError, WeightsError, DataError: with the file and the place in it.
    """
    return build_solver(
        path,
        placeholders,
        net=net,
        device=device,
        seed=seed,
        source=source,
        root=root,
        workers=workers,
        weights=weights,
        prefix=prefix,
        max_iter=max_iter,
        dialect=dialect,
        log=log,
    )


def build_solver(
    path: str | Path,
    placeholders: Mapping[str, object],
    *,
    net: str | Path | None = None,
    device: str | torch.device | None = None,
    seed: int | None = None,
    source: str | Path | None = None,
    root: str | Path | None = None,
    workers: int = 0,
    weights: Sequence[str | Path] | None = None,
    prefix: str | None = None,
    max_iter: int | None = None,
    dialect: str = "auto",
    log: Log | None = None,
) -> Solver:
    """`load_solver` with the placeholders in a mapping, so that they may have any name."""
    file = Path(path)
    log = log or Log([warnings_to_stderr])
    param = load_solver_parameter(file, placeholders)
    if max_iter is not None:
        param.max_iter = max_iter
    log.info(f"Initializing solver from parameters:\n{to_text(param).rstrip()}")
    _check(param, file)
    for name in policies.unset_fields(param):
        log.warning(f"{name} is not set in {file} and counts as 0, as in Caffe")
    for note in forks.solver_notes(param):
        log.warning(f"{file}: {note}")
    place = pick_device(device, param)
    number = pick_seed(seed, param)
    torch.manual_seed(number)
    data = {"seed": number, "workers": workers}
    train_file, origin = nets.train_net(param, file, placeholders, net, dialect)
    log.info(f"Creating training net from {origin}")
    for note in train_file.notes:
        log.warning(note)
    train = _build(train_file, place, {**data, "source": source, "root": root})
    tests = []
    for index, (test_file, origin) in enumerate(nets.test_nets(param, file, placeholders, net, dialect)):
        log.info(f"Creating test net (#{index}) specified by {origin}")
        tests.append(_build(test_file, place, data, share=train))
    prefix = snapshot_prefix(param, file) if prefix is None else prefix
    try:
        solver = Solver(param, train, tests, prefix=prefix, seed=number, log=log)
    except PrototxtError as error:
        raise _located(error, file) from error
    for name in _own_weights(param, file) if weights is None else weights:
        solver.load_weights(name)
    log.info("Solver scaffolding done.")
    return solver


def snapshot_prefix(param: Message, solver: Path) -> str:
    """snapshot_prefix; the solver's path without its suffix if there is none, its stem inside a folder.

    Both defaults are BVLC's (UpgradeSnapshotPrefixProperty).
    """
    prefix = param.snapshot_prefix or str(solver.with_suffix(""))
    return os.path.join(prefix, solver.stem) if os.path.isdir(prefix) else prefix


def pick_device(device: str | torch.device | None, param: Message | None = None) -> torch.device:
    """The device to train on.

    Args:
        device: a torch device name; None and "auto" follow `param`: its GPU where there is one, unless
            solver_mode is CPU.

    Raises:
        UsageError: not a device, or a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None or str(device) == "auto":
        wanted = param is None or param.solver_mode == GPU
        index = 0 if param is None else param.device_id
        if not (wanted and count):
            return torch.device("cpu")
        return torch.device("cuda", index if index < count else 0)
    match = re.fullmatch(r"(cpu|cuda)(?::(\d+))?", str(device))
    if match is None:
        raise UsageError("unknown device", found=device, expected="auto, cpu, cuda or cuda:INDEX")
    index = int(match.group(2) or 0)
    if match.group(1) == "cpu":
        return torch.device("cpu")
    if index >= count:
        raise UsageError(
            "the device is not there",
            found=f"{device}; this machine has {count} CUDA devices that torch can use",
            expected="auto, cpu" + "".join(f", cuda:{number}" for number in range(count)),
            advice="use --device cpu, or install a torch build for this GPU",
        )
    return torch.device("cuda", index)


def pick_seed(seed: int | None, param: Message) -> int:
    """The seed: given, else random_seed if that is not negative, else one from the system."""
    if seed is not None:
        return seed
    if param.random_seed >= 0:
        return param.random_seed
    return int.from_bytes(os.urandom(4), "little")


def _build(
    file: NetFile,
    device: torch.device,
    data: Mapping[str, object],
    share: Net | None = None,
) -> Net:
    given = {name: value for name, value in data.items() if value is not None}
    return build_net(file, device=device, share=share, data=given)


def _check(param: Message, file: Path) -> None:
    """What Caffe checks when a solver is made, before any net is built."""
    try:
        policies.learning_rate(param, 0)
    except PrototxtError as error:
        raise _located(error, file) from error
    if param.average_loss < 1:
        raise PrototxtError(
            "average_loss is out of range",
            where=file,
            found=param.average_loss,
            expected="1 or more",
            advice="correct average_loss in the solver prototxt",
        )


def _own_weights(param: Message, file: Path) -> list[Path]:
    """The solver's `weights` field: repeated, each a comma list (BVLC)."""
    names = [name.strip() for entry in param.weights for name in entry.split(",")]
    return [nets.find_file(name, file, "weights") for name in names if name]


def _located(error: PrototxtError, file: Path) -> PrototxtError:
    """The same error with the solver's file."""
    return PrototxtError(
        error.message,
        where=error.where or file,
        found=error.found,
        expected=error.expected,
        advice=error.advice,
    )
