"""What a user is told of a run: four lines before it; after it the weights, and what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import torch

from rlossctl.bilateral import backend
from rlossctl.data.sources.stream import Source
from rlossctl.net import Net
from rlossctl.solver.machine.speed import described
from rlossctl.solver.reading.files import SolverFile
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.scoring.swallowed import Swallowed, missing
from rlossctl.solver.snapshots import snapshot
from rlossctl.solver.solver import Solver
from rlossctl.words import counted


def before(solver: Solver, start: str) -> list[str]:
    """Net and parameters, data, device and threads, precision.

    Args:
        start: what the weights are, in words.
    """
    net, choice = solver.net, backend(solver.net.device)
    parameters = sum(entry.tensor.numel() for entry in net.learnable)
    threads = f", {counted(torch.get_num_threads(), 'thread')}" if net.device.type == "cpu" else ""
    shared = " in each process" if solver.processes.count > 1 else ""
    return [
        f"Net: {net.name}, {counted(len(net.layers), 'layer')}, {parameters:,} parameters; {start}",
        f"Data: {_data(solver)}",
        f"Device: {net.device}{threads}{shared}; filter backend: {choice.name} ({choice.reason})",
        described(net, solver.speed),
    ]


def after(solver: Solver, file: SolverFile, options: TrainOptions) -> Iterator[str]:
    """The best and the last weights, and the commands that convert and score them."""
    last, standing, goal = solver.saving.last, solver.progress.standing, solver.best.goal
    model = solver.saving.best
    yield from _missing(solver.swallowed)
    if goal is not None and standing.value is not None:
        kept = f": {model}" if model is not None else ""
        yield f"best: {goal.blob} {standing.value:.6g} after {counted(standing.iter, 'iteration')}{kept}"
    if last is not None:
        name = last.with_name(last.name.replace(".solverstate", ".caffemodel"))
        yield f"last: {name}"
        model = model or name
        if solver.average.exists:
            average = snapshot.average_file(last)
            yield f"average: {average}"
            model = solver.saving.best or average
    net = _deployable(solver)
    if model is None or net is None:
        return
    used = net.file.placeholders
    given = [(name, value) for name, value in file.placeholders.items() if name in used]
    settings = [part for pair in given for part in ("--set", "{}={}".format(*pair))]
    settings += [] if file.dialect == "auto" else ["--dialect", file.dialect]
    data, val = [], options.test_data
    data += [] if val.list is None else ["--data", str(val.list)]
    data += [] if val.root is None else ["--root", str(val.root)]
    onnx = str(model).partition(".caffemodel")[0] + ".onnx"
    common = [net.file.path, str(model)]
    if solver.test_nets:
        yield f"next: {shlex.join(['rlossctl', 'eval', *common, *data, *settings])}"
    yield f"next: {shlex.join(['rlossctl', 'convert', *common, '-o', onnx, *settings])}"


def _missing(swallowed: Swallowed) -> Iterator[str]:
    """What the mean of a test does not show."""
    tests = {"best": swallowed.best, "last": swallowed.last}
    if swallowed.best is swallowed.last:
        tests = {"last": swallowed.last}
    for name, areas in tests.items():
        if found := missing(areas):
            yield f"warning: classes that the {name} test hardly predicts, in shares of the pixels: {found}"


def _deployable(solver: Solver) -> Net | None:
    """The net for inference: the one that is tested, else the training net; None if it has no file."""
    net = (solver.test_nets or [solver.net])[0]
    return net if net.file.path.endswith(".prototxt") else None


def _list(net: Net) -> tuple[str, int]:
    """The list that a net reads, in words, and its batch size."""
    for source in net.sources.values():
        if isinstance(source, Source):
            return f"{counted(source.count(), 'sample')} of {source.list_name}", source.batch_size
    return "none that is read from a list", 0


def _data(solver: Solver) -> str:
    training, batch = _list(solver.net)
    batches = f" in batches of {batch}" if batch else ""
    if batch and solver.processes.count > 1:
        batches += f" for each of {solver.processes.count} processes"
    if not solver.test_nets:
        return f"{training}{batches}; no tests"
    every = counted(solver.param.test_interval, "iteration")
    return f"{training}{batches}; a test every {every} on {_list(solver.test_nets[0])[0]}"
